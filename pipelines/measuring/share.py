"""One worker of an evaluation: it measures tasks of some images, and puts together what all have measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from aunet.categories import difference
from aunet.data.sample import decode_sample
from aunet.errors import InputError
from aunet.model.precision import format_name
from aunet.predictor import Predictor
from pipelines.data.shards import ShardReader
from pipelines.measuring.batches import Batches
from pipelines.measuring.gallery import draw_gallery
from pipelines.measuring.measurement import Measurement
from pipelines.measuring.models import load_predictor
from pipelines.pages.picks import Pick
from pipelines.settings.run_config import RunConfig, from_json
from pipelines.store.parts import Parts

Load = Callable[[str, RunConfig], Predictor]
"""Gives the predictor of a model folder."""
Gallery = Callable[[Predictor, ShardReader, Sequence[Pick]], dict[str, Any]]
"""Draws images, as `gallery.draw_gallery`."""


@dataclass(kw_only=True)
class Share:
    """What a worker needs to know; what it loads is loaded once."""

    settings: dict[str, Any]
    """JSON of RunConfig."""
    model_uri: str
    prepared_uri: str
    parts: Parts
    """Where the measured tasks go."""
    task_images: int
    """Rows of a task: the n-th has those from n · task_images on."""
    load: Load = load_predictor
    gallery: Gallery = draw_gallery

    @cached_property
    def reader(self) -> ShardReader:
        """The validation split."""
        return ShardReader(self.prepared_uri, "val")

    @cached_property
    def batches(self) -> Batches:
        """The model.

        Raises:
            InputError: it is damaged, or knows other categories than the data.
        """
        config: RunConfig = from_json(RunConfig, self.settings)
        predictor = self.load(self.model_uri, config)
        if difference(predictor.categories.entries, self.reader.manifest.categories.entries):
            raise InputError(
                f"{self.model_uri}: the model's categories are not those of {self.prepared_uri}; "
                "measure it on data with its own"
            )
        return Batches(predictor)

    def measure(self, task: int) -> int:
        """Measure the images of a task, commit the outcome, and return how many they are."""
        categories = self.batches.predictor.categories
        first = task * self.task_images
        rows = range(first, min(first + self.task_images, len(self.reader)))
        measurement = Measurement(categories)
        samples = (decode_sample(self.reader.row(row), categories) for row in rows)
        for sample, result in self.batches.results(samples):
            measurement.update(sample, result)
        number_format = format_name(self.batches.predictor.precision)
        self.parts.write(task, measurement.to_plain() | {"number_format": number_format})
        return len(rows)

    def combine(self) -> dict[str, Any]:
        """All tasks together, added in their order: the fields of `Evaluation`, except the gallery.

        Raises:
            InputError: a part is missing or damaged, or the images are not exactly those of the split.
        """
        categories = self.reader.manifest.categories
        total, formats = Measurement(categories), set[str]()
        for task in range(-(-len(self.reader) // self.task_images)):
            plain = self.parts.read(task)
            total.merge(Measurement.from_plain(categories, plain))
            formats.add(plain["number_format"])
        outcomes = total.outcomes
        if not np.array_equal(outcomes.images, np.sort(self.reader.image_ids)):
            raise InputError(
                f"{self.parts.uri}: what was measured are not the images of {self.prepared_uri}; delete this folder "
                "and run `evaluate` again"
            )
        return {
            "metrics": total.metrics(),
            "per_class": total.per_class(),
            "attention": total.attention.compute(),
            "outcomes": outcomes,
            "categories": categories,
            "number_formats": sorted(formats),
            "tags": self.tags(),
        }

    def tags(self) -> dict[int, dict[str, str]]:
        """What is known of each image."""
        reader = self.reader
        rows = zip(reader.image_ids, reader.file_names, reader.sizes, strict=True)
        return {
            image_id: {"file_name": name, "height": str(height), "width": str(width)}
            for image_id, name, (height, width) in rows
        }

    def draw(self, picks: Sequence[Pick]) -> dict[str, Any]:
        """The pictures of some images."""
        return self.gallery(self.batches.predictor, self.reader, picks)
