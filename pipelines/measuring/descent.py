"""Which run began with the model of which other, by `model.init_from`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.hashes import digest
from pipelines.store.origin import Origin
from pipelines.store.run_folder import RunFolder


def parents(runs: Sequence[RunFolder]) -> dict[str, str]:
    """Name of a run that began with a model → that of the run which made it; empty: none of `runs` has that model.

    Raises:
        InputError: the settings or the history of a run are damaged.
    """
    started = [folder for folder in runs if ((folder.config() or {}).get("model") or {}).get("init_from")]
    makers = {sha256: folder.name for folder in runs if started and (sha256 := _model_sha256(folder))}
    return {folder.name: makers.get(Origin.of(folder.history).weights_sha256, "") for folder in started}


def ancestors(run: str, known: Mapping[str, str]) -> Iterator[str]:
    """The runs from whose models a run descends, the nearest first; last an empty name where that is not known.

    Args:
        known: `parents`.
    """
    passed = {run}
    while (parent := known.get(run)) is not None and parent not in passed:
        yield parent
        passed.add(parent)
        run = parent


def _model_sha256(folder: RunFolder) -> str:
    """Names a run's model; empty: there is none, or it is damaged."""
    try:
        return digest(folder.model_uri) if storage.exists(folder.model_uri) else ""
    except InputError:
        return ""
