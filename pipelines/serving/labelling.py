"""From encoded images to panoptic maps, several at a time: those of a batch change each other by rounding only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aunet.config import AugmentConfig
from aunet.data.augment import evaluation_size
from aunet.data.coco_panoptic import decode_image
from aunet.data.sample import padded_size
from aunet.errors import InputError
from aunet.predictor import Predictor

BATCH_PIXELS = 16_000_000
"""Pixels of the images of one pass, before they are resized; an image with more goes alone."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """The panoptic map of one image."""

    ids: NDArray[np.int32]
    """int32[H, W] of segment ids, 0 is void."""
    segments: list[dict[str, Any]]
    """`segments_info` of the COCO format."""
    model: dict[str, Any]
    """What labelled it."""


LabelledOrError = LabelledImage | Exception
"""Of one image: a failure is a value, so that it does not become the failure of its neighbours."""


def label_all(
    predictor: Predictor, pictures: Sequence[bytes], max_pixels: int, model: dict[str, Any]
) -> list[LabelledOrError]:
    """Label encoded images.

    Args:
        model: what is said of the model in each result.

    Returns:
        One outcome for each, in order: an InputError where it is not an image.
    """
    outcomes: list[LabelledOrError] = []
    arrays: list[NDArray[np.uint8] | None] = []
    for data in pictures:
        try:
            arrays.append(decode_image(data, max_pixels))
            outcomes.append(RuntimeError("not labelled"))
        except InputError as error:
            arrays.append(None)
            outcomes.append(error)
    images = {index: array for index, array in enumerate(arrays) if array is not None}
    for group in plan_batches({index: array.shape[:2] for index, array in images.items()}, predictor.augment):
        labelled = _label(predictor, [images[index] for index in group], model)
        for index, outcome in zip(group, labelled, strict=True):
            outcomes[index] = outcome
    return outcomes


def plan_batches(
    sizes: Mapping[int, tuple[int, ...]], augment: AugmentConfig, max_pixels: int = BATCH_PIXELS
) -> list[list[int]]:
    """The images that are labelled by one call: not too many pixels, and one pass of the network at its own scale.

    The predictor itself keeps apart what is padded to other sizes; here one call of it fails for as few as possible.

    Args:
        sizes: (height, width) of every image, by a number of it.

    Returns:
        The numbers, each in one group; of every group the images are in order.
    """
    groups: dict[tuple[int, int], list[list[int]]] = {}
    for index, (height, width) in sizes.items():
        alike = groups.setdefault(padded_size(evaluation_size(height, width, augment)), [[]])
        pixels = sum(sizes[other][0] * sizes[other][1] for other in alike[-1])
        if alike[-1] and pixels + height * width > max_pixels:
            alike.append([])
        alike[-1].append(index)
    return [group for alike in groups.values() for group in alike]


def _label(predictor: Predictor, images: list[NDArray[np.uint8]], model: dict[str, Any]) -> list[LabelledOrError]:
    """Label images of one batch; one by one where that fails, for want of memory or because of one of them."""
    try:
        return [
            LabelledImage(
                result.panoptic.ids.cpu().numpy(), [segment.to_json() for segment in result.panoptic.segments], model
            )
            for result in predictor(images)
        ]
    except Exception as error:  # noqa: BLE001 - the outcome of one request, and of no other
        return [error] if len(images) == 1 else [_label(predictor, [image], model)[0] for image in images]
