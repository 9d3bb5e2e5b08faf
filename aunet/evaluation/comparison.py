"""Two models on the same images: how far their panoptic quality is apart, and whether that may be chance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from aunet.categories import Categories, Category
from aunet.errors import InputError
from aunet.evaluation.outcomes import ImageCounts
from aunet.evaluation.paired_bootstrap import paired_differences
from aunet.evaluation.resampling import LEAST_IMAGES

Verdict = Literal["equal", "better", "worse", "undecided"]
SHOWN_IMAGES = 50
"""Ids of won and of lost images in the JSON."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Ours minus theirs in points of PQ, and the ends of its interval."""

    difference: float
    low: float
    high: float

    @property
    def is_decided(self) -> bool:
        """Whether 0 is outside of the interval."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.difference:+.1f} [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known about two models."""

    PQ: Difference
    PQ_th: Difference
    PQ_st: Difference
    per_class: tuple[tuple[Category, Difference], ...]
    """Categories that are true or predicted in some image. Each interval is for its category alone: of 100 categories
    of equal quality about five exclude 0."""
    verdict: Verdict
    """Of PQ. equal: the same counts in every image. better: all of the interval is above the margin; worse: all of it
    is below; else, and on fewer than `LEAST_IMAGES` images, undecided."""
    more_images: int | None
    """How many more images would decide, if the difference stays what it is, with these at least `LEAST_IMAGES`; None
    where it is decided or equal, or is exactly the margin."""
    images: int
    """On which both were measured."""
    won: tuple[int, ...]
    """Images whose PQ is higher with ours, the largest difference first."""
    lost: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values; of `won` and `lost` the first 50, and how many there are."""
        return {
            **{name: asdict(getattr(self, name)) for name in ("PQ", "PQ_th", "PQ_st")},
            "verdict": self.verdict,
            "more_images": self.more_images,
            "images": self.images,
            "num_won": len(self.won),
            "num_lost": len(self.lost),
            "won": list(self.won[:SHOWN_IMAGES]),
            "lost": list(self.lost[:SHOWN_IMAGES]),
            "per_class": [
                {"category_id": c.id, "name": c.name, "isthing": int(c.is_thing), **asdict(difference)}
                for c, difference in self.per_class
            ],
        }

    def sentence(self, ours: str = "B", theirs: str = "A") -> str:
        """The verdict in plain words; the two models by name."""
        on = f"on {self.images} image{'s' * (self.images != 1)}"
        if self.verdict == "equal":
            return f"{ours} and {theirs} are equal: the same counts in every image, {on}"
        if self.verdict != "undecided":
            return f"{ours} is {self.verdict} than {theirs}: PQ {self.PQ} {on}"
        more = self.more_images
        cure = "" if more is None else f"; about {more} more image{'s' * (more != 1)} would decide"
        return f"undecided whether {ours} is better than {theirs}: PQ {self.PQ} {on}{cure}"


def compare(
    ours: ImageCounts,
    theirs: ImageCounts,
    categories: Categories,
    *,
    samples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    margin: float = 0.0,
) -> Comparison:
    """Compare two models that were measured on the same images; see `paired_differences` for the intervals.

    Args:
        ours: counts of N ≥ 1 images, C categories.
        theirs: of the same images, by ids.
        samples: bootstrap samples; as many swaps.
        level: of the intervals.
        margin: in points of PQ; `better` asks that much more than theirs. A negative one allows that much less.

    Raises:
        InputError: the images are not the same, or there are none.
    """
    check_same_images(ours.image_ids, theirs.image_ids)
    differences = paired_differences(ours, theirs, categories, samples=samples, seed=seed, level=level)
    pq, things, stuff = (
        _difference(value, half) for value, half in zip(differences.groups, differences.groups_margin, strict=True)
    )
    present = [n for n in range(len(categories)) if not math.isnan(differences.classes[n])]
    is_equal = all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in ("iou", "tp", "fp", "fn"))
    verdict = _verdict(pq, margin, len(ours.image_ids), is_equal)
    # An image with nothing to count is a perfect one beside one with false positives.
    gain = np.nan_to_num(ours.image_pq(), nan=100.0) - np.nan_to_num(theirs.image_pq(), nan=100.0)
    return Comparison(
        PQ=pq,
        PQ_th=things,
        PQ_st=stuff,
        per_class=tuple(
            (categories.entries[n], _difference(differences.classes[n], differences.classes_margin[n])) for n in present
        ),
        verdict=verdict,
        more_images=_more_images(pq, margin, len(gain)) if verdict == "undecided" else None,
        images=len(gain),
        won=_ranked(ours.image_ids, gain),
        lost=_ranked(ours.image_ids, -gain),
    )


def check_same_images(ours: npt.NDArray[np.int64], theirs: npt.NDArray[np.int64]) -> None:
    """Make sure that two lists of image ids, each ascending, are the same.

    Raises:
        InputError: they are not, or are empty.
    """
    if not len(ours):
        raise InputError("there are no images to compare on; choose another slice, or other data")
    if np.array_equal(ours, theirs):
        return
    names = ", ".join(_some(np.setxor1d(ours, theirs).tolist()))
    raise InputError(
        f"the models were measured on different images: {len(ours)} and {len(theirs)}, among them only once {names}; "
        "measure both on the same split"
    )


def _some(ids: Iterable[int]) -> list[str]:
    shown = [str(i) for i in ids]
    return shown[:3] + ["…"] * (len(shown) > 3)


def _difference(value: float, half: float) -> Difference:
    value, half = float(value), float(half)
    return Difference(value, max(value - half, -100.0), min(value + half, 100.0))


def _verdict(pq: Difference, margin: float, images: int, is_equal: bool) -> Verdict:
    if is_equal:
        return "equal"
    if images < LEAST_IMAGES:
        return "undecided"
    if pq.low > margin:
        return "better"
    return "worse" if pq.high < margin else "undecided"


def _more_images(pq: Difference, margin: float, images: int) -> int | None:
    """The interval shrinks with the square root of the number of images; few images decide nothing, however narrow."""
    distance = abs(pq.difference - margin)
    if not distance:
        return None
    half = max(pq.difference - pq.low, pq.high - pq.difference)
    return max(1, LEAST_IMAGES - images, math.ceil(images * ((half / distance) ** 2 - 1)))


def _ranked(image_ids: npt.NDArray[np.int64], gain: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """The images with a gain, the largest first, then by id."""
    order = np.argsort(-gain, kind="stable")
    return tuple(image_ids[order[gain[order] > 0]].tolist())
