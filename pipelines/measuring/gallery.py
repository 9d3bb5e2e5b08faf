"""The pictures of a report: some images of a split, labelled once more, with and without the network's attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aunet.data.sample import Sample, decode_sample
from aunet.drawing_attention import draw_attention
from aunet.predictor import Predictor, Result
from pipelines.data.shards import ShardReader
from pipelines.measuring.gallery_item import draw_item
from pipelines.pages.picks import Pick
from pipelines.pages.pictures import draw_comparison, encode_png
from pipelines.store.run_folder import ATTENTION, OVERLAYS

NUM_OVERLAYS, NUM_ATTENTION = 6, 2
"""Of the images, so many are also drawn as plain PNGs, and so many with their attention."""


def draw_gallery(predictor: Predictor, reader: ShardReader, picks: Sequence[Pick]) -> dict[str, Any]:
    """Label the picked images of a split and draw them.

    Args:
        picks: see `pipelines.pages.picks.choose`; all of them are images of the split.

    Returns:
        `items`: one per pick, as `pipelines.pages.report_gallery` shows them; `pictures`: PNGs by their name below the
        report's folder.
    """
    index_of = {image_id: index for index, image_id in enumerate(reader.image_ids)}
    items, pictures = [], {}
    for number, pick in enumerate(picks):
        sample = decode_sample(reader.row(index_of[pick.image_id]), predictor.categories)
        result = predictor([sample.image])[0]
        items.append(_item(predictor, sample, result, pick))
        name = f"{pick.image_id:012d}.png"
        if number < NUM_OVERLAYS:
            pictures[f"{OVERLAYS}/{name}"] = draw_comparison(sample, result, predictor.categories)
        if number < NUM_ATTENTION and result.attention:
            pictures[f"{ATTENTION}/{name}"] = encode_png(draw_attention(sample.image, result.attention))
    return {"items": items, "pictures": pictures}


def _item(predictor: Predictor, sample: Sample, result: Result, pick: Pick) -> dict[str, Any]:
    unguided = predictor([sample.image], guided=False)[0].panoptic if predictor.can_ignore_attention else None
    return draw_item(sample, result.panoptic, result.attention, unguided, pick, predictor.categories)
