"""Learning real annotations by heart, through the whole pipeline: minutes each, so marked slow."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.commands import jobs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "quality"), [("coco_overfit", 88), ("coco_overfit_val", 75), ("coco_overfit_lite0", 88)]
)
def test_real_coco_is_learned_by_heart(preset: str, quality: float, sample_data: Path, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result, _ = jobs(tmp_path / "store", "run", preset)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = sum(getattr(after, kind) - getattr(before, kind) for kind in ("ru_utime", "ru_stime"))
    print(
        f"{preset}: PQ {result['PQ']:.1f}, PQ_th {result['PQ_th']:.1f}, PQ_st {result['PQ_st']:.1f}, {spent:.0f} CPU s"
    )
    assert result["PQ"] >= quality
