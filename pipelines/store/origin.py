"""What a run was made from: data, code, base weights, libraries and devices, as its own events tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.store.history import History


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a run was made from. A run of an earlier version tells less: empty is unknown."""

    prepared_uri: str = ""
    data_fingerprint: str = ""
    code: tuple[str, ...] = ()
    """Hashes of the code, one after the other, where a run was continued with another version."""
    libraries: tuple[str, ...] = ()
    """Python, torch and torchvision, likewise."""
    devices: tuple[str, ...] = ()
    """What rank 0 computed on, likewise."""
    weights: str = ""
    """Name or file of the pretrained backbone; empty: it was trained from scratch, or unknown."""
    weights_sha256: str = ""
    starts: int = 0
    """How often a group of workers began."""

    @classmethod
    def of(cls, history: History) -> Origin:
        """What the events of a run tell.

        Raises:
            InputError: they are damaged.
        """
        events = history.events()
        drivers = [event for event in events if event["kind"] == "origin"]
        workers = [event for event in events if event["kind"] == "resume"]

        def values(source: list[dict[str, Any]], name: str) -> tuple[str, ...]:
            return tuple(dict.fromkeys(str(event[name]) for event in source if event.get(name)))

        def last(source: list[dict[str, Any]], name: str) -> str:
            return (values(source, name) or ("",))[-1]

        return cls(
            prepared_uri=last(drivers, "prepared"),
            data_fingerprint=last(drivers, "data"),
            code=values(drivers, "code"),
            libraries=values(workers, "libraries"),
            devices=values(workers, "device"),
            weights=last(workers, "weights"),
            weights_sha256=last(workers, "weights_sha256"),
            starts=len(workers),
        )
