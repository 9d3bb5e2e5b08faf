"""Images of one size through the network together, as many as memory allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from aunet.predictor import Predictor, Result

MOST_ON_GPU = 8
"""Images of a batch on a GPU. On a CPU one by one is as fast, and needs least memory."""


class HasImage(Protocol):
    """What is to be labelled, such as a sample."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """uint8[H, W, 3] RGB."""
        ...


Shown = TypeVar("Shown", bound=HasImage)


class Batches:
    """A predictor with the size of batch that it can hold.

    Images of equal size share a batch, so that it is one pass of the network; the predictor would split any other.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.size = MOST_ON_GPU if predictor.device.type == "cuda" else 1

    def results(self, samples: Iterable[Shown]) -> Iterator[tuple[Shown, Result]]:
        """Every sample with its result; those of equal size one after the other."""
        by_size: dict[tuple[int, ...], list[Shown]] = {}
        for sample in samples:
            by_size.setdefault(sample.image.shape, []).append(sample)
        for group in by_size.values():
            while group:
                results = self._label(group)
                yield from zip(group, results, strict=False)
                del group[: len(results)]

    def _label(self, samples: Sequence[HasImage]) -> list[Result]:
        """The results of the first few samples, with a smaller batch where memory is short."""
        while True:
            try:
                return self.predictor([sample.image for sample in samples[: self.size]])
            except torch.OutOfMemoryError:
                if self.size == 1:
                    raise
                self.size //= 2
                torch.cuda.empty_cache()
