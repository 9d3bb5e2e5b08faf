"""Results in a store outlive the version that wrote them."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from aunet.errors import InputError
from pipelines.store.artifacts import RegisteredModel

MODEL = RegisteredModel(uri="models:/a/1", fingerprint="f", name="a", version=1, alias=None, reason="held")


def test_the_fields_of_another_version_are_read() -> None:
    plain = asdict(MODEL)
    assert RegisteredModel.from_fields({**plain, "later": 1}, "tick.json") == MODEL
    del plain["reason"]
    assert RegisteredModel.from_fields(plain, "tick.json").reason == ""


def test_missing_fields_are_named() -> None:
    with pytest.raises(InputError, match=r"tick\.json: lacks fingerprint, alias; delete the file and run"):
        RegisteredModel.from_fields({"uri": "models:/a/1", "name": "a", "version": 1}, "tick.json")
