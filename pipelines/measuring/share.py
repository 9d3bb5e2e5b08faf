"""One worker's share of an evaluation: measured rows, with pictures of some, and how shares add up."""

from __future__ import annotations

from typing import Any

from aunet.categories import difference
from aunet.data.sample import Sample
from aunet.drawing_attention import draw_attention
from aunet.errors import InputError
from aunet.predictor import Result
from pipelines.data.sample_plan import spread
from pipelines.data.shards import ShardReader
from pipelines.measuring.measurement import Measurement, measure
from pipelines.measuring.models import load_predictor
from pipelines.pages.pictures import draw_comparison, encode_png
from pipelines.settings.run_config import RunConfig, from_json
from pipelines.store.run_folder import ATTENTION, OVERLAYS

NUM_ATTENTION = 4
"""Of the pictures in a report, that many are also shown with the network's attention."""
Share = tuple[Measurement, dict[str, bytes]]
"""Counts, and pictures by their name below the report's folder."""


def measure_share(
    settings: dict[str, Any], model_uri: str, prepared_uri: str, indices: list[int], shown: list[int]
) -> Share:
    """Measure the rows at `indices`, with pictures of those that are in `shown`.

    Args:
        settings: JSON of RunConfig.

    Raises:
        InputError: the model knows other categories than the data.
    """
    config: RunConfig = from_json(RunConfig, settings)
    predictor = load_predictor(model_uri, config)
    reader = ShardReader(prepared_uri, "val")
    if difference(predictor.categories.entries, reader.manifest.categories.entries):
        raise InputError(
            f"{model_uri}: the model's categories are not those of {prepared_uri}; measure it on data with its own"
        )
    compared = {reader.image_ids[index] for index in shown}
    attended = {reader.image_ids[index] for index in spread(shown, NUM_ATTENTION)}
    pictures: dict[str, bytes] = {}

    def inspect(sample: Sample, result: Result) -> None:
        name = f"{sample.image_id:012d}.png"
        if sample.image_id in compared:
            pictures[f"{OVERLAYS}/{name}"] = draw_comparison(sample, result, predictor.categories)
        if sample.image_id in attended and result.attention:
            pictures[f"{ATTENTION}/{name}"] = encode_png(draw_attention(sample.image, result.attention))

    return measure(predictor, reader, indices, inspect), pictures


def combine_shares(*shares: Share) -> dict[str, Any]:
    """All shares of a split together: the fields of `Evaluation`."""
    total = Measurement(shares[0][0].quality.categories)  # what comes from Ray's object store cannot be written to
    pictures: dict[str, bytes] = {}
    for measurement, drawn in shares:
        total.merge(measurement)
        pictures |= drawn
    return {
        "metrics": total.metrics(),
        "per_class": total.per_class(),
        "attention": total.attention.compute(),
        "pictures": {name: pictures[name] for name in sorted(pictures)},
    }
