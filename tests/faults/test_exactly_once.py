"""Every image once per epoch, on however many workers, through a stop in the middle of an epoch."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines import presets
from pipelines.data import ingest
from pipelines.data.ingest import training_batches
from pipelines.settings.overrides import override
from pipelines.settings.run_config import FeedConfig, RunConfig
from tests.feeds import scenes, step_decoder

BATCH, EPOCHS, IMAGES = 6, 3, 16
"""Eight steps; epochs end after 2.67, 5.33 and 8."""
STEPS = IMAGES * EPOCHS // BATCH
MICRO_BATCH = 1
"""Images of a forward pass: six passes of one worker, three of two, two of three."""


class Arrival(NamedTuple):
    """One image that a rank was given."""

    epoch: int
    step: int
    rank: int
    image_id: int


def arrivals(step: int, rank: int, world_size: int, image_ids: list[int]) -> list[Arrival]:
    """The epochs are counted here, from the positions in the global batch, not taken from the plan.

    A rank's micro-batches come one after the other: of its positions, every n-th from the first, the second … on.
    """
    mine = range(step * BATCH + rank, (step + 1) * BATCH, world_size)
    passes = len(mine) // MICRO_BATCH
    positions = [position for turn in range(passes) for position in mine[turn::passes]]
    return [Arrival(k // IMAGES, step, rank, i) for k, i in zip(positions, image_ids, strict=True)]


def lost_and_doubled(audit: list[Arrival], image_ids: set[int]) -> tuple[int, int]:
    counts = Counter((a.epoch, a.image_id) for a in audit)
    every = {(epoch, image_id) for epoch in range(EPOCHS) for image_id in image_ids}
    assert counts.keys() <= every
    return len(every - counts.keys()), sum(n - 1 for n in counts.values())


def feed_steps(world_size: int, first: int, end: int, feed: FeedConfig) -> list[Arrival]:
    """What the ranks of a run get that goes on at step `first` and is stopped before step `end`."""
    audit = []
    for rank in range(world_size):
        passes = BATCH // (world_size * MICRO_BATCH)
        decoder = step_decoder(
            scenes(IMAGES),
            batch_size=BATCH,
            epochs=EPOCHS,
            rank=rank,
            world_size=world_size,
            micro_batches=BATCH // MICRO_BATCH,
        )
        batches = training_batches(decoder, first, feed)
        for step in range(first, end):
            image_ids = [t.image_id for _ in range(passes) for t in next(batches).targets]
            audit += arrivals(step, rank, world_size, image_ids)
        batches.close()  # type: ignore[attr-defined]
    return audit


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("stop", [3, 4])
def test_nothing_is_lost_or_doubled_when_the_world_changes(before: int, after: int, stop: int) -> None:
    audit = feed_steps(before, 0, stop, FeedConfig()) + feed_steps(after, stop, STEPS, FeedConfig())
    assert {a.rank for a in audit if a.step >= stop} == set(range(after))
    assert lost_and_doubled(audit, {1000 + n for n in range(IMAGES)}) == (0, 0)


@pytest.mark.parametrize("kind", ["torch", "ray"])
def test_feeds_that_decode_ahead_lose_nothing_either(
    kind: Any, ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decoded ahead at the stop is decoded again."""
    monkeypatch.setattr(ingest, "FIRST_BATCHES", 1)
    feed = FeedConfig(kind=kind, workers=1)
    audit = feed_steps(2, 0, 4, feed) + feed_steps(1, 4, STEPS, feed)
    assert lost_and_doubled(audit, {1000 + n for n in range(IMAGES)}) == (0, 0)


def test_a_lost_and_a_doubled_image_are_seen() -> None:
    audit = feed_steps(1, 0, STEPS, FeedConfig())
    images = {a.image_id for a in audit}
    assert lost_and_doubled(audit[1:], images) == (1, 0)
    assert lost_and_doubled([*audit, audit[3]], images) == (0, 1)


CONFIG = override(
    presets.shapes_smoke(),
    {
        "data.shapes.num_train": IMAGES, "data.shapes.num_val": 2, "data.shapes.height": 64, "data.shapes.width": 96,
        "augment.crop": [64, 96], "model.backbone.fpn_channels": 16, "model.foreground.box_channels": 32,
        "model.foreground.mask_channels": 16, "model.background.channels": 16, "train.batch_size": BATCH,
        "train.micro_batch_size": MICRO_BATCH,
        "train.epochs": EPOCHS, "train.checkpoint_every": 1, "train.max_failures": 0,
    },
)  # fmt: skip


def audited_work(settings: dict[str, Any]) -> None:
    """`work`, which also writes down what reaches the network, and is lost at a given step."""
    from pipelines.training.remote import work
    from pipelines.training.worker import Worker

    first_batches, ingest.FIRST_BATCHES = ingest.FIRST_BATCHES, 1
    train_step = Worker.train_step
    audit, lost_at = settings["assignment"].audit_uri, int(settings["assignment"].attempt)

    def recorded(self: Worker, micro_batches: Any) -> Any:
        if self.step == lost_at:
            raise RuntimeError("lost")
        image_ids = [target.image_id for batch in micro_batches for target in batch.targets]
        rank, world_size = self.group.rank, self.group.world_size
        with open(f"{audit}.{world_size}.{rank}", "a", encoding="utf-8") as file:
            file.writelines(json.dumps(arrival) + "\n" for arrival in arrivals(self.step, rank, world_size, image_ids))
        return train_step(self, micro_batches)

    Worker.train_step = recorded
    settings["assignment"] = dataclasses.replace(settings["assignment"], audit_uri="")
    try:
        work(settings)
    finally:  # the process of a lone worker serves the next attempt too
        Worker.train_step, ingest.FIRST_BATCHES = train_step, first_batches


def train_until(lost_at: int, config: RunConfig, folder: Path, prepared_uri: str) -> tuple[list[Arrival], Any]:
    """Train the one run in `folder`: what its workers got, and how the attempt failed."""
    from pipelines.runtime.board import open_board
    from pipelines.training.assignment import Assignment
    from pipelines.training.attempt import Attempt

    assignment = Assignment(
        config=config,
        prepared_uri=prepared_uri,
        run_uri=str(folder / "run"),
        attempt=str(lost_at),
        audit_uri=str(folder / "audit"),
    )
    with open_board() as board:
        attempt = Attempt(assignment, board, config.train.max_workers, audited_work)
        assert attempt.has_ended(400)
    return audit_of(folder, config.train.max_workers), attempt.error


def audit_of(folder: Path, world_size: int) -> list[Arrival]:
    lines = [line for path in folder.glob(f"audit.{world_size}.*") for line in path.read_text().splitlines()]
    return [Arrival(*json.loads(line)) for line in lines]


@pytest.mark.slow
@pytest.mark.faults
def test_a_run_that_goes_on_with_another_world_and_another_feed(ray_cluster: None, tmp_path: Path) -> None:
    """Lost at step 5 with one worker fed by Ray tasks; from its checkpoint at step 3, in the second epoch, on with two
    workers and processes beside them."""
    from pipelines.data.shards import ShardReader
    from pipelines.preprocess import preprocess

    def with_workers(number: int, feed: FeedConfig) -> RunConfig:
        return dataclasses.replace(CONFIG, feed=feed, train=dataclasses.replace(CONFIG.train, num_workers=number))

    prepared = preprocess(CONFIG)
    before, error = train_until(5, with_workers(1, FeedConfig(kind="ray", workers=1)), tmp_path, prepared.uri)
    assert "lost" in str(error)
    assert {a.step for a in before} == {0, 1, 2, 3, 4}
    after, error = train_until(-1, with_workers(2, FeedConfig(workers=1)), tmp_path, prepared.uri)
    assert error is None
    assert min(a.step for a in after) == 3 and {a.rank for a in after} == {0, 1}
    audit = [a for a in before if a.step < 3] + after  # what came later was lost with its worker
    assert lost_and_doubled(audit, set(ShardReader(prepared.uri, "train").image_ids)) == (0, 0)
