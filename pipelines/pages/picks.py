"""Which images of an evaluation are worth a look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from aunet.categories import Categories
from aunet.evaluation.outcomes import Fate, Outcomes

MAX_PICKS = 24


@dataclass(frozen=True, slots=True)
class Pick:
    """One image that the report shows."""

    image_id: int
    pq: float | None
    """Of this image alone, in per cent; None: it has nothing to count."""
    change: float | None = None
    """Against the champion, in points; None: there is none."""


def choose(
    outcomes: Outcomes, categories: Categories, champion: Outcomes | None = None, most: int = MAX_PICKS
) -> list[Pick]:
    """At most `most` images: in turn the worst, the most changed, the worst of each class, and typical ones.

    The first are the most telling: a page that grows too large leaves out the last.

    Args:
        outcomes: of the model that the report is on.
        champion: of another model on the same images.
    """
    ids = outcomes.images.tolist()
    pq = dict(zip(ids, outcomes.counts(categories).image_pq().tolist(), strict=True))
    counted = [image for image in ids if not np.isnan(pq[image])]
    by_quality = sorted(counted, key=lambda image: (pq[image], image))
    change: dict[int, float] = {}
    if champion is not None:
        theirs = dict(zip(champion.images.tolist(), champion.counts(categories).image_pq().tolist(), strict=True))
        change = {image: pq[image] - theirs[image] for image in counted if not np.isnan(theirs.get(image, np.nan))}
    by_change = sorted((i for i in change if change[i]), key=lambda image: (-abs(change[image]), image))
    typical = [by_quality[round(share * (len(by_quality) - 1))] for share in (0.5, 1.0, 0.75, 0.25) if by_quality]
    order = _in_turn(by_quality, by_change, _worst_of_each_class(outcomes, categories), typical)
    chosen = list(dict.fromkeys([*order, *ids]))[:most]
    return [Pick(i, None if np.isnan(pq[i]) else pq[i], change.get(i)) for i in chosen]


def _worst_of_each_class(outcomes: Outcomes, categories: Categories) -> Iterator[int]:
    """For each class, the worst first, the image in which it fails most often."""
    wrong = np.isin(outcomes.fate, (Fate.MISSED, Fate.FALSE))
    quality = {n: c.pq for n, c in enumerate(outcomes.counts(categories).quality(categories).per_class)}
    for category in sorted(quality, key=lambda n: quality[n]):
        images, counts = np.unique(outcomes.image_id[wrong & (outcomes.category == category)], return_counts=True)
        if len(images):
            yield int(images[counts.argmax()])


def _in_turn(*lists: Iterable[int]) -> Sequence[int]:
    return [image for row in zip_longest(*lists) for image in row if image is not None]
