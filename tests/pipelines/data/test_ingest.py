"""Batches: the same from every feed, bit for bit; first ones at once; nothing left behind."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import torch

from aunet.errors import InputError
from aunet.structures import PackedBatch
from pipelines import presets
from pipelines.data import ingest
from pipelines.data.ingest import StepDecoder, Timed, sample_plan, training_batches
from pipelines.settings.run_config import FeedConfig
from tests.feeds import AUGMENT, Rows, scenes, step_decoder

IN_PROCESS = FeedConfig()
FEEDS = {"torch": FeedConfig(workers=2), "ray": FeedConfig(kind="ray", workers=1)}


@pytest.fixture(params=list(FEEDS))
def feed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FeedConfig:
    """A feed that decodes elsewhere, from the third step on."""
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    monkeypatch.setattr(ingest, "FIRST_BATCHES", 2)
    return FEEDS[request.param]


def assert_same(first: PackedBatch, second: PackedBatch) -> None:
    a, b = first.to("cpu"), second.to("cpu")
    assert a.image_sizes == b.image_sizes and torch.equal(a.images, b.images)
    for one, other in zip(a.targets, b.targets, strict=True):
        assert one["image_id"] == other["image_id"]
        for key in ("boxes", "labels", "masks", "semantic"):
            assert one[key].dtype == other[key].dtype and torch.equal(one[key], other[key]), key


def test_feeds_give_the_same_batches_bit_for_bit(feed: FeedConfig) -> None:
    """Two micro-batches a step, from the third step on."""
    decoder = step_decoder(scenes(16), epochs=4, micro_batches=2)
    batches = list(training_batches(decoder, 2, feed))
    expected = [decoder[number] for number in range(4, 2 * decoder.plan.num_steps)]
    assert len(batches) == len(expected) == 16
    assert {tuple(batch.images.shape[2:]) for batch in expected} >= {(64, 96), (96, 64)}
    for one, other in zip(batches, expected, strict=True):
        assert_same(one, other)


def test_a_feed_that_is_left_early_ends(feed: FeedConfig) -> None:
    batches = training_batches(step_decoder(scenes(16), epochs=40), 0, feed)
    assert len(list(itertools.islice(batches, 4))) == 4
    assert isinstance(batches, Generator)
    batches.close()
    end = time.monotonic() + 300
    while multiprocessing.active_children():
        assert time.monotonic() < end
        time.sleep(0.05)
    if feed.kind == "ray":
        import ray

        while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
            assert time.monotonic() < end, "a task still decodes for nobody"
            time.sleep(0.05)


class Damaged(Rows):
    def row(self, index: int) -> dict[str, Any]:
        raise InputError("shard-7 is damaged in row 3")


def test_what_goes_wrong_elsewhere_is_said_here(feed: FeedConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "FIRST_BATCHES", 0)
    batches = training_batches(step_decoder(Damaged(scenes(16).rows)), 0, feed)
    with pytest.raises(Exception, match="shard-7 is damaged in row 3"):
        list(batches)


def test_the_first_steps_do_not_wait_for_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers that never start keep nobody from the first steps."""
    from pipelines.data import torch_feed

    asked: list[range] = []

    def decode_ahead(decoder: StepDecoder, steps: range, workers: int) -> Iterator[PackedBatch]:
        asked.append(steps)
        return map(decoder.__getitem__, steps)

    monkeypatch.setattr(torch_feed, "decode_ahead", decode_ahead)
    decoder = step_decoder(scenes(16), epochs=6)
    batches = list(training_batches(decoder, 3, FeedConfig(workers=1)))
    assert asked == [range(3 + ingest.FIRST_BATCHES, 16)]
    for step, batch in enumerate(batches, start=3):
        assert_same(batch, decoder[step])


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_every_batch(world_size: int) -> None:
    undivided = step_decoder(scenes(16))
    for rank in range(world_size):
        share = step_decoder(scenes(16), rank=rank, world_size=world_size)
        for step in range(undivided.plan.num_steps):
            for target, expected in zip(share[step].targets, undivided[step].targets[rank::world_size], strict=True):
                assert target.image_id == expected.image_id
                assert (target.boxes == expected.boxes).all()  # augmented alike whoever draws it


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 5, 6])
def test_micro_batches_are_the_same_however_many_ranks_share_them(world_size: int) -> None:
    """Six a step, of two images each; every rank's in turn, and where they do not divide evenly some have one more."""
    of_six = [step_decoder(scenes(16), batch_size=12, rank=other, world_size=6) for other in range(6)]
    for rank in range(world_size):
        decoder = step_decoder(scenes(16), batch_size=12, rank=rank, world_size=world_size, micro_batches=6)
        accumulate = decoder.accumulate
        assert accumulate == 6 // world_size + (rank < 6 % world_size)
        batches = list(training_batches(decoder, 1, IN_PROCESS))
        assert len(batches) == (decoder.plan.num_steps - 1) * accumulate
        for number, batch in enumerate(batches, start=accumulate):
            step, turn = divmod(number, accumulate)
            assert_same(batch, of_six[rank + turn * world_size][step])


def test_what_is_pasted_depends_neither_on_ranks_nor_on_micro_batches() -> None:
    """It comes from the whole step: a micro-batch of one image gets it too."""
    pasting = dataclasses.replace(AUGMENT, copy_paste=0.7)
    undivided, plain = step_decoder(scenes(16), augment=pasting)[1], step_decoder(scenes(16))[1]
    changed = 0
    for number in range(6):
        share = step_decoder(scenes(16), augment=pasting, rank=number % 3, world_size=3, micro_batches=6)
        one = share[2 + number // 3]
        image, target = one.images[0], one.targets[0]
        assert target.image_id == undivided.targets[number].image_id
        assert torch.equal(image, undivided.images[number])
        assert (target.boxes == undivided.targets[number].boxes).all()
        assert torch.equal(one.segment_maps[0].int(), undivided.segment_maps[number].int())
        changed += not torch.equal(image, plain.images[number])
    assert 2 <= changed <= 6
    none = step_decoder(scenes(16), augment=dataclasses.replace(AUGMENT, copy_paste=0.0))
    assert_same(none[1], plain)


def test_a_step_of_one_image_has_nothing_to_paste() -> None:
    pasting = step_decoder(scenes(4), batch_size=1, augment=dataclasses.replace(AUGMENT, copy_paste=1.0))
    assert_same(pasting[0], step_decoder(scenes(4), batch_size=1)[0])


def test_an_image_is_augmented_anew_in_every_epoch() -> None:
    decoder = step_decoder(scenes(6), batch_size=6)
    (first, second) = (
        {t.image_id: images for t, images in zip(batch.targets, batch.images, strict=True)}
        for batch in (decoder[0], decoder[1])
    )
    assert first.keys() == second.keys()
    assert any(not torch.equal(first[i], second[i]) for i in first)


def test_threads_change_nothing() -> None:
    decoder, threads = step_decoder(scenes(16)), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = decoder[0]
        torch.set_num_threads(2)
        assert_same(one, decoder[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_grouping_is_for_images_of_their_own_size() -> None:
    """Crops are all alike; grouped or not, a run has the same steps."""
    rows: Any = scenes(16)
    config = presets.coco_r50()
    assert set(sample_plan(config, rows).groups) == {0, 1}
    cropped = dataclasses.replace(config, augment=dataclasses.replace(config.augment, crop=(64, 64)))
    assert sample_plan(cropped, rows).groups == b""
    assert sample_plan(cropped, rows).num_steps == sample_plan(config, rows).num_steps


def test_waiting_is_added_up() -> None:
    def slow() -> Iterator[Any]:
        for n in range(3):
            time.sleep(0.01)
            yield n

    timed = Timed(slow())
    assert list(timed) == [0, 1, 2]
    assert timed.seconds >= 0.03


def test_a_ray_feed_without_tasks_is_refused() -> None:
    with pytest.raises(InputError, match=r"feed\.workers"):
        FeedConfig(kind="ray")
