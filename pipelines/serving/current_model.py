"""The model that is served: the one that a name stands for, replaced when an alias moves."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aunet.errors import InputError, Unavailable
from aunet.predictor import Predictor
from pipelines.measuring.models import load_predictor
from pipelines.measuring.named_models import NamedModel, find_model, held_version


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to label."""

    predictor: Predictor
    facts: dict[str, Any]
    """`model` (as it was asked for), `name`, `version` and `sha256`."""


class CurrentModel:
    """The model that a name stands for now.

    Args:
        model: as people name it.
        find: the folder behind the name, checked against its ledger and its hashes.
        held: the version that an alias points to; None: the name is not that of an alias.
        load: gives the predictor of a folder.

    Raises:
        InputError: there is no such model, or it is damaged.
    """

    def __init__(
        self,
        model: str,
        *,
        trust_exported: bool = False,
        find: Callable[[str], NamedModel] = find_model,
        held: Callable[[str], int | None] = held_version,
        load: Callable[..., Predictor] = load_predictor,
    ) -> None:
        self.model, self.trust_exported = model, trust_exported
        self.problem = ""
        """Why the newest version is not served; empty: it is."""
        self._find, self._held, self._load = find, held, load
        self._closed = threading.Event()
        self.loaded = self._open()

    def follow(self, seconds: float) -> None:
        """Look for another version now and then, in a thread of its own."""
        if self._held(self.model) is not None:
            threading.Thread(target=self._run, args=(seconds,), name="follow the alias", daemon=True).start()

    def close(self) -> None:
        """End the looking."""
        self._closed.set()

    def refresh(self) -> bool:
        """Load what the alias points to, if that is another version; the old one is served until it is loaded.

        Returns:
            Whether another model is served now. Where it cannot be loaded, the old one stays, and `problem` says why.
        """
        try:
            if self._held(self.model) in (None, self.loaded.facts["version"]):
                self.problem = ""
                return False
            self.loaded = self._open()
        except Exception as error:  # noqa: BLE001 - the thread looks again, also after a GPU that was too full for two
            known = isinstance(error, (InputError, Unavailable, OSError))
            problem = str(error) if known else f"{type(error).__name__}: {error}"
            if problem != self.problem:
                print(f"serve · {self.model} · the old version stays: {problem}", file=sys.stderr, flush=True)
            self.problem = problem
            return False
        self.problem = ""
        print(f"serve · {self.model} · version {self.loaded.facts['version']} is served", file=sys.stderr, flush=True)
        return True

    def describe(self) -> dict[str, Any]:
        """What is served, and why it is not the newest version if it is not."""
        categories = self.loaded.predictor.categories.to_json()
        return {**self.loaded.facts, "problem": self.problem or None, "categories": categories}

    def _open(self) -> LoadedModel:
        named = self._find(self.model)
        predictor = self._load(named.folder, trust_exported=self.trust_exported)
        facts = {"model": self.model, "name": named.name, "version": named.version, "sha256": named.sha256()}
        return LoadedModel(predictor, facts)

    def _run(self, seconds: float) -> None:
        while not self._closed.wait(seconds):
            self.refresh()
