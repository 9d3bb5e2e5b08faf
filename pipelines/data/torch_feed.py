"""Feed `torch`: processes beside the training process decode ahead of it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from aunet.structures import PackedBatch
from pipelines.data.step_decoder import StepDecoder

IMPORTED_ONCE = ["pipelines.data.step_decoder"]
"""Imported before the first process is forked off, so that torch is loaded once and its memory shared."""


def decode_ahead(decoder: StepDecoder, numbers: range, workers: int) -> Iterator[PackedBatch]:
    """Start `workers` processes, each of which decodes two batches ahead; they come in the order of `numbers`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED_ONCE)
    loader = DataLoader(
        decoder,  # type: ignore[arg-type]
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        collate_fn=_unchanged,  # type: ignore[arg-type]
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context=context,
        generator=torch.Generator(),  # not the training's, which draws beside this
    )
    return iter(loader)


def _unchanged(batch: PackedBatch) -> PackedBatch:
    return batch
