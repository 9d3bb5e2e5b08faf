"""Pictures of predictions, for reports and for folders of predictions."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aunet.categories import Categories
from aunet.data.sample import Sample
from aunet.drawing import draw_panoptic, side_by_side

if TYPE_CHECKING:  # the driver of an evaluation sorts pictures without the network that made them
    from aunet.predictor import Result


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """uint8[H, W, 3] → PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def draw_comparison(sample: Sample, result: Result, categories: Categories) -> bytes:
    """Image, ground truth and prediction side by side, as a PNG."""
    truth = draw_panoptic(sample.image, sample.true_ids(), sample.true_segments(), categories)
    prediction = draw_panoptic(sample.image, result.panoptic.ids.cpu().numpy(), result.panoptic.segments, categories)
    return encode_png(side_by_side([sample.image, truth, prediction], ["image", "ground truth", "prediction"]))
