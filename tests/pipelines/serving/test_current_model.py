"""The model behind an alias: replaced when the alias moves, kept when the new one cannot be loaded."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from aunet.data.cityscapes import CATEGORIES
from aunet.errors import InputError, Unavailable
from pipelines.measuring.named_models import NamedModel
from pipelines.serving.current_model import CurrentModel


class Version(NamedModel):
    """A version whose folder nobody reads."""

    def sha256(self) -> str:
        return f"hash of {self.folder}"


class Registry:
    """An alias that is moved by assignment."""

    def __init__(self) -> None:
        self.version: int | None = 1
        self.damaged: set[int] = set()
        self.too_large: set[int] = set()
        self.is_down = False
        self.loaded: list[str] = []

    def held(self, model: str) -> int | None:
        if self.is_down:
            raise Unavailable("the server does not answer")
        return self.version

    def find(self, model: str) -> NamedModel:
        if self.version in self.damaged:
            raise InputError(f"version {self.version}: not what was registered")
        return Version(folder=f"folder {self.version}", name="shapes", version=self.version)

    def load(self, folder: str, trust_exported: bool = False) -> Any:
        self.loaded.append(folder)
        if self.version in self.too_large:
            raise RuntimeError("CUDA out of memory")
        return SimpleNamespace(categories=CATEGORIES)

    def current(self) -> CurrentModel:
        return CurrentModel("models:/shapes@champion", find=self.find, held=self.held, load=self.load)


def test_a_promotion_is_followed() -> None:
    registry = Registry()
    current = registry.current()
    before = current.loaded
    assert not current.refresh() and registry.loaded == ["folder 1"]
    registry.version = 2
    assert current.refresh() and current.loaded is not before
    assert current.describe() | {"categories": []} == {
        "model": "models:/shapes@champion",
        "name": "shapes",
        "version": 2,
        "sha256": "hash of folder 2",
        "problem": None,
        "categories": [],
    }
    assert len(current.describe()["categories"]) == len(CATEGORIES.entries)


def test_a_damaged_version_is_not_served() -> None:
    registry = Registry()
    current = registry.current()
    registry.version, registry.damaged = 2, {2}
    assert not current.refresh() and current.loaded.facts["version"] == 1
    assert current.describe()["problem"] == "version 2: not what was registered"
    registry.damaged.clear()
    assert current.refresh() and current.describe()["problem"] is None


def test_whatever_stops_the_loading_the_next_version_is_served() -> None:
    registry = Registry()
    current = registry.current()
    registry.version, registry.too_large = 2, {2}
    assert not current.refresh() and current.loaded.facts["version"] == 1
    assert current.describe()["problem"] == "RuntimeError: CUDA out of memory"
    registry.version = 3
    assert current.refresh() and current.describe()["problem"] is None


def test_a_registry_that_does_not_answer_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry()
    current = registry.current()
    registry.is_down = True
    assert not current.refresh() and not current.refresh() and current.loaded.facts["version"] == 1
    assert capsys.readouterr().err.count("the old version stays: the server does not answer") == 1
    registry.is_down = False
    assert not current.refresh() and current.problem == ""


def test_the_alias_is_looked_at_by_itself() -> None:
    registry = Registry()
    current = registry.current()
    current.follow(0.01)
    registry.version = 2
    deadline = time.monotonic() + 300
    while current.loaded.facts["version"] == 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    current.close()
    assert current.loaded.facts["version"] == 2


def test_a_folder_is_not_looked_at_again() -> None:
    registry = Registry()
    registry.version = None
    current = registry.current()
    current.follow(0.001)
    time.sleep(0.05)
    assert registry.loaded == ["folder None"]


def test_a_missing_model_is_an_error_of_the_input() -> None:
    registry = Registry()
    registry.damaged = {1}
    with pytest.raises(InputError, match="not what was registered"):
        registry.current()
