"""The file of outcomes: what is written is read back, and damage is noticed."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pyarrow.parquet as pq
import pytest

from aunet.errors import InputError
from aunet.evaluation.outcomes import COLUMNS, Outcomes
from pipelines.measuring.outcome_table import from_parquet, to_parquet
from tests.nights import matched
from tests.tiny import CATEGORIES

TAGS = {3: {"city": "Zürich"}, 8: {}}


def written() -> bytes:
    return to_parquet(matched([3, 8], len(CATEGORIES), 0.75), TAGS, CATEGORIES)


def test_it_is_read_back() -> None:
    outcomes, tags, categories = from_parquet(written(), "outcomes.parquet")
    assert categories == CATEGORIES and tags == TAGS
    for name, kind in COLUMNS.items():
        column = getattr(outcomes, name)
        assert np.array_equal(column, getattr(matched([3, 8], len(CATEGORIES), 0.75), name)) and column.dtype == kind
    assert written() == written()


def test_images_without_a_segment_stay(tmp_path: Path) -> None:
    empty = Outcomes.join([]).to_plain() | {"images": [4, 9]}
    outcomes, _, _ = from_parquet(to_parquet(Outcomes.from_plain(empty), {}, CATEGORIES), "o")
    assert outcomes.images.tolist() == [4, 9] and not len(outcomes.category)


def test_people_can_read_it_with_any_tool(tmp_path: Path) -> None:
    (tmp_path / "outcomes.parquet").write_bytes(written())
    table = pq.read_table(tmp_path / "outcomes.parquet")
    assert table.num_rows == 16 and {"image_id", "category", "iou"} < set(table.column_names)


def test_damage_is_noticed() -> None:
    """Cuts and flipped bits: a message, or, where a flip hits nothing that is used, the same content."""
    data, random = written(), Random(0)
    damaged = [b"", b"PAR1", data[:-1], data[: len(data) // 2]]
    for _ in range(200):
        flipped = bytearray(data)
        flipped[random.randrange(len(data))] ^= 1 << random.randrange(8)
        damaged.append(bytes(flipped))
    messages = []
    for content in damaged:
        try:
            outcomes, _, _ = from_parquet(content, "outcomes.parquet")
        except InputError as error:
            messages.append(str(error))
        else:
            assert np.array_equal(outcomes.iou, np.full(16, 0.75))
    assert len(messages) > 50
    assert all(m.startswith("outcomes.parquet: ") and "run `evaluate` again" in m for m in messages)


@pytest.mark.parametrize(
    ("column", "value"), [("category", 4), ("category", -1), ("fate", 5), ("iou", 1.5), ("image_id", 5)]
)
def test_values_out_of_range_are_refused(column: str, value: float) -> None:
    outcomes = matched([3, 8], len(CATEGORIES), 0.75)
    getattr(outcomes, column)[0] = value
    with pytest.raises(InputError, match=r"not the outcomes of an evaluation, or damaged"):
        from_parquet(to_parquet(outcomes, {}, CATEGORIES), "o")
