"""A stand-in for a network that labels by brightness: quick, and wrong in a way that depends on the image only."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aunet.categories import Categories
from aunet.data.shapes import CATEGORIES
from aunet.image_sized import SemanticLogits
from aunet.predictor import Result
from aunet.segments import Segment
from aunet.structures import Detections, PanopticMap, Prediction
from pipelines.settings.run_config import RunConfig


class Threshold:
    """Bright pixels are one thing, the others one stuff, of categories that the mean brightness chooses."""

    device = torch.device("cpu")
    precision = None
    can_ignore_attention = False

    def __init__(self, categories: Categories = CATEGORIES, seconds: float = 0.0) -> None:
        self.categories, self.seconds = categories, seconds
        self.batches: list[int] = []

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> list[Result]:
        self.batches.append(len(images))
        time.sleep(self.seconds * len(images))
        return [self._label(image) for image in images]

    def _label(self, image: NDArray[np.uint8]) -> Result:
        brightness = torch.from_numpy(image.mean(2))
        mean = float(brightness.mean())
        ids = torch.where(brightness > mean, 2, 1).int()
        things, stuff = self.categories.things, self.categories.stuff
        kinds = [stuff[int(mean) % len(stuff)], things[int(mean) % len(things)]]
        areas = [int((ids == n).sum()) for n in (1, 2)]
        segments = [
            Segment(n, kind.id, kind.is_thing, area)
            for n, (kind, area) in enumerate(zip(kinds, areas, strict=True), start=1)
            if area
        ]
        mask = ids == 2
        rows, columns = torch.nonzero(mask, as_tuple=True)
        number = int(bool(areas[1]))
        box = torch.tensor([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]] if number else [])
        detections = Detections(
            box.float().reshape(-1, 4),
            torch.full((number,), 0.5),
            torch.full((number,), int(mean) % len(things) + 1),
            mask[None][:number],
        )
        logits = SemanticLogits.of(torch.zeros(len(stuff) + 1, *ids.shape))
        result = Result(PanopticMap(ids, segments), Prediction(detections, logits))
        result.attention = {"mam": (brightness / 255).float()}
        return result


def load(model_uri: str, config: RunConfig) -> Any:
    """In place of `load_predictor`."""
    return Threshold()


def load_slow(model_uri: str, config: RunConfig) -> Any:
    """One that takes its time for every image, so that it can be interrupted."""
    return Threshold(seconds=0.05)


def load_mortal(model_uri: str, config: RunConfig) -> Any:
    """One whose process dies once, at the first image, where the file that `model_uri` names does not exist yet."""
    path = Path(model_uri)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return load_slow(model_uri, config)


def no_gallery(predictor: Any, reader: Any, picks: Sequence[Any]) -> dict[str, Any]:
    """In place of `draw_gallery`."""
    return {"items": [], "pictures": {}}
