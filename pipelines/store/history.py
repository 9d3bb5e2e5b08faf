"""The history of a run, an event per line: `events/000001.jsonl`, …, which are never rewritten, then `events.jsonl`.

Each file of `events/` is created whole and once; the run's end joins them. Steps that were computed again have the same
figures as the first time, so of two events of one step the later counts, and it does not matter whether a file was
joined already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.stored_folder import Folder
from pipelines.store.stored_json import stored_object

SEGMENT = re.compile(r"[0-9]{6,}\.jsonl")
FIGURES = ("step", "evaluation")
"""Kinds of events of which there is one per step."""
CURE = "delete this file: what it says of the past is lost, nothing else"
_Event = dict[str, Any]


class History(Folder):
    """The events of the run in this folder."""

    @property
    def joined_uri(self) -> str:
        """All events, once the run is finished."""
        return storage.join(self.uri, "events.jsonl")

    @property
    def segments_uri(self) -> str:
        """Folder of the events of a run that goes on."""
        return storage.join(self.uri, "events")

    def events(self) -> list[_Event]:
        """All events, in the order in which they were written; figures of a step once, as they came last.

        Raises:
            InputError: a file is damaged.
        """
        names = self._segments()
        try:
            written = list(self._read(names))
        except InputError:
            if self._segments()[: len(names)] == names:
                raise
            written = list(self._read([]))  # joined meanwhile: all are in one file, before the first is deleted
        latest: dict[Any, _Event] = {}
        for event in written:
            key = (event["kind"], event["step"]) if event["kind"] in FIGURES else json.dumps(event, sort_keys=True)
            latest.pop(key, None)
            latest[key] = event
        return list(latest.values())

    def append(self, events: Sequence[_Event]) -> None:
        """Add events; several processes may."""
        if not events:
            return
        content = "".join(json.dumps(event) + "\n" for event in events).encode()
        number = max((int(name.partition(".")[0]) for name in self._segments()), default=0) + 1
        while not storage.create_exclusive(storage.join(self.segments_uri, f"{number:06d}.jsonl"), content):
            number += 1

    def join(self) -> None:
        """Put all events into one file; one process may, once nobody adds any more."""
        if names := self._segments():
            content = "".join(json.dumps(event) + "\n" for event in self.events()).encode()
            storage.write_bytes(self.joined_uri, content)
            for name in names:
                storage.delete(storage.join(self.segments_uri, name))
            storage.delete(self.segments_uri)

    def _segments(self) -> list[str]:
        if not storage.exists(self.segments_uri):
            return []
        try:
            files = storage.list_files(self.segments_uri)
        except InputError:
            if storage.exists(self.segments_uri):
                raise
            return []  # joined meanwhile
        return sorted((f.path for f in files if SEGMENT.fullmatch(f.path)), key=lambda name: (len(name), name))

    def _read(self, names: Sequence[str]) -> Iterator[_Event]:
        """The events of the joined file, if there is one, and of the segments `names`."""
        uris = [storage.join(self.segments_uri, name) for name in names]
        for uri in [self.joined_uri] * storage.exists(self.joined_uri) + uris:
            for number, line in enumerate(storage.read_bytes(uri).splitlines(), 1):
                yield _event(line, f"{uri}, line {number}")


def _event(line: bytes, source_name: str) -> _Event:
    event = stored_object(line, source_name, CURE)
    if not isinstance(event.get("kind"), str) or type(event.get("step")) is not int:
        raise InputError(f"{source_name}: not an event, which has a kind and a step; {CURE}")
    return event
