"""What reached the network: every rank notes it for every step, and what the weights hold is counted from it."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aunet.config_json import from_json
from pipelines.data.ingest import sample_plan
from pipelines.data.shards import ShardReader
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.stored_json import read_stored
from pipelines.training.checkpoint import Progress

NAME = re.compile(r"(?P<attempt>[0-9A-Za-z]+)-(?P<step>[0-9]+)-(?P<rank>[0-9]+)\.json")
CURE = "delete the folder of this proof and run `prove` again"
Samples = Counter[tuple[int, int]]
"""How often each image reached the network in each step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """What one rank noted of one step, before it computed it."""

    at: float
    """Seconds since 1970."""
    host: str
    pid: int
    images: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """That a rank of an attempt has begun a step."""

    attempt: str
    step: int
    """From 0."""
    rank: int
    modified: int
    """Nanoseconds since 1970."""
    uri: str

    def note(self) -> Note:
        """What it noted."""
        return from_json(Note, read_stored(self.uri, CURE), self.uri)


def note(audit_uri: str, attempt: str, step: int, rank: int, images: Sequence[int]) -> None:
    """Note the images of a step, numbered from 0, that reach the network of a rank."""
    fields: dict[str, Any] = {"at": time.time(), "host": socket.gethostname(), "pid": os.getpid(), "images": [*images]}
    storage.write_bytes(storage.join(audit_uri, f"{attempt}-{step:06d}-{rank}.json"), json.dumps(fields).encode())


def computed(audit_uri: str) -> list[Computed]:
    """All steps that ranks have begun so far, in the order of time."""
    files = storage.list_files(audit_uri) if storage.exists(audit_uri) else []
    entries = [
        Computed(match["attempt"], int(match["step"]), int(match["rank"]), file.modified, f"{audit_uri}/{file.path}")
        for file in files
        if (match := NAME.fullmatch(file.path))
    ]
    return sorted(entries, key=lambda entry: entry.modified)


def planned(config: RunConfig, prepared_uri: str) -> Samples:
    """What has to reach the network in a run over prepared data."""
    reader = ShardReader(prepared_uri, "train")
    plan = sample_plan(config, reader)
    steps = range(plan.num_steps)
    return Counter((step, reader.image_ids[draw.index]) for step in steps for draw in plan.batch(step))


def consumed(entries: Sequence[Computed], progress: Progress) -> Samples:
    """What is in the weights: of every attempt those steps that a checkpoint's lineage names."""
    by_step: dict[tuple[str, int], list[Computed]] = {}
    for entry in entries:
        by_step.setdefault((entry.attempt, entry.step), []).append(entry)
    samples: Samples = Counter()
    for attempt, first, end in progress.lineage:
        for step in range(first, end):
            for entry in by_step.get((attempt, step), []):
                samples.update((step, image) for image in entry.note().images)
    return samples


def lost_and_doubled(planned: Samples, consumed: Samples) -> tuple[int, int]:
    """How many images never reached the network in a step, and how many did that should not have."""
    return (planned - consumed).total(), (consumed - planned).total()
