"""Rows of generated scenes in memory, wide and high, and what the feeds make of them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from aunet.config import AugmentConfig
from aunet.data.shapes import CATEGORIES, make_scene
from pipelines.data.ingest import StepDecoder
from pipelines.data.sample_plan import SamplePlan, aspect_groups

AUGMENT = AugmentConfig(short_sides=(48, 64), max_size=128, color=0.3)


@dataclass(frozen=True)
class Rows:
    """Reads like a `ShardReader`."""

    rows: tuple[dict[str, Any], ...]
    window: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [(row["height"], row["width"]) for row in self.rows]

    def row(self, index: int) -> dict[str, Any]:
        return self.rows[index]


@cache
def scenes(count: int) -> Rows:
    """Every third one is higher than wide."""
    return Rows(tuple(_row(n, *((96, 64) if n % 3 == 0 else (64, 96))) for n in range(count)))


def _row(number: int, height: int, width: int) -> dict[str, Any]:
    from PIL import Image

    from aunet.data.coco_panoptic import encode_panoptic

    scene, buffer = make_scene(0, "train", number, height, width), io.BytesIO()
    Image.fromarray(scene.image).save(buffer, "JPEG", quality=92)
    segments = [
        {"id": s.id, "category_id": s.category_id, "is_crowd": s.is_crowd, "area": s.area} for s in scene.segments
    ]
    return {
        "image_id": 1000 + number,
        "height": height,
        "width": width,
        "segments": segments,
        "instances": None,
        "image": buffer.getvalue(),
        "panoptic": encode_panoptic(scene.ids),
    }


def step_decoder(
    rows: Rows,
    *,
    batch_size: int = 6,
    epochs: int = 3,
    rank: int = 0,
    world_size: int = 1,
    micro_batches: int | None = None,
    seed: int = 0,
    augment: AugmentConfig = AUGMENT,
) -> StepDecoder:
    """One rank's decoder, over batches of images of one aspect; None: one micro-batch for each rank."""
    plan = SamplePlan(len(rows), batch_size, epochs, seed, aspect_groups(rows.sizes))
    return StepDecoder(cast(Any, rows), plan, CATEGORIES, augment, "one", rank, world_size, micro_batches or world_size)
