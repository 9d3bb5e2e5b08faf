"""How far two predictors of one network are apart, from boxes to panoptic maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aunet.model import Output
from aunet.predictor import Predictor

TOLERANCE = {"boxes": 0.01, "scores": 1e-4, "mask_probs": 1e-3, "logits": 1e-3, "attention": 1e-4}
"""Largest difference that is accepted; of the boxes in pixels of the network's input."""
AGREEMENT = 0.999
"""Least share of the pixels of a panoptic map that have the same segment."""


def measure_parity(network: Predictor, program: Predictor, pictures: list[NDArray[np.uint8]]) -> dict[str, float]:
    """How far apart two predictors are, at one scale: `parity` as `export` returns it; infinite where labels differ.

    Args:
        pictures: uint8[H, W, 3] RGB, one or more.
    """
    worst: dict[str, float] = dict.fromkeys(TOLERANCE, 0.0)
    same = detections = 0
    for predictor in (network, program):
        predictor.augment = replace(predictor.augment, test_scales=(1.0,), test_flip=False)
    for picture in pictures:
        wanted, actual = network.run([picture])[0], program.run([picture])[0]
        worst = {name: max(worst[name], other) for name, other in differences(wanted, actual).items()}
        detections += len(wanted.instances.scores[0])
        maps = [predictor([picture])[0].panoptic.ids for predictor in (network, program)]
        same += int((maps[0] == maps[1]).sum())
    pixels = sum(picture.shape[0] * picture.shape[1] for picture in pictures)
    return {**worst, "panoptic": same / pixels, "images": len(pictures), "detections": detections}


def differences(wanted: Output, actual: Output) -> dict[str, float]:
    """The largest absolute difference of each of `TOLERANCE`, for one image; infinite where it is not a number."""
    (labels,), (others,) = wanted.instances.labels, actual.instances.labels
    alike = torch.equal(labels, others)

    def apart(name: str) -> float:
        if not alike:
            return float("inf")
        (ours,), (theirs,) = getattr(wanted.instances, name), getattr(actual.instances, name)
        return largest(ours - theirs)

    def largest(difference: Tensor) -> float:
        return float(difference.abs().nan_to_num(nan=torch.inf).max()) if difference.numel() else 0.0

    ours, theirs = wanted.semantic, actual.semantic
    return {
        **{name: apart(name) for name in ("boxes", "scores", "mask_probs")},
        "logits": largest(ours.logits - theirs.logits),
        "attention": max((largest(m - theirs.attention[name]) for name, m in ours.attention.items()), default=0.0),
    }


def excesses(parity: dict[str, float]) -> list[str]:
    """Where two predictors differ by more than is accepted, in words."""
    exceeded = [
        f"{name} by {parity[name]:.2g} (at most {most})" for name, most in TOLERANCE.items() if parity[name] > most
    ]
    if parity["panoptic"] < AGREEMENT:
        exceeded.append(f"{1 - parity['panoptic']:.2%} of the pixels (at most {1 - AGREEMENT:.2%})")
    return exceeded
