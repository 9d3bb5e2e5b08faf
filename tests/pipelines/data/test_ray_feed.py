"""The feed of Ray tasks, beyond what all feeds share."""

from __future__ import annotations

import pytest

from pipelines.data.ray_feed import decode_ahead
from tests.feeds import scenes, step_decoder

CLOSINGS = 60
"""With `ray.cancel` about every second run of so many ended in an abort of this process."""


@pytest.mark.faults
def test_a_feed_is_closed_at_any_moment(ray_cluster: None) -> None:
    """Tasks that are about to begin, run or end; the feed after it has all its batches."""
    decoder = step_decoder(scenes(16), batch_size=6, epochs=30, rank=0, world_size=1, micro_batches=6)
    for number in range(CLOSINGS):
        batches = decode_ahead(decoder, range(480), 2)
        for _ in range(number % 9 + 1):
            next(batches)
        del batches
    assert sum(len(batch.targets) for batch in decode_ahead(decoder, range(24), 2)) == 24
