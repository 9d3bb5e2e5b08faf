"""`export`: a model → one file that PyTorch runs without this project's model code, if it agrees with the network."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aunet.data.shapes import make_scene
from aunet.errors import InputError, Refused
from aunet.export import export_network
from aunet.model import AUNet
from aunet.model_files import CONFIG, PROGRAM
from aunet.predictor import Predictor
from pipelines.measuring.images import image_files, read_image
from pipelines.measuring.named_models import model_folder
from pipelines.measuring.parity import excesses, measure_parity
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult
from pipelines.store.hashes import check_empty, check_hashes, check_listing, upload_hashed, write_hashes

NUM_IMAGES = 4
"""Pictures that are compared, of `images` or generated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedModel(VerbResult):
    """A folder with a program of torch.export."""

    uri: str
    file: str
    """URI of the program."""
    sha256: str
    bytes: int
    torch: str
    """Version that it was made with."""
    parity: dict[str, float]
    """The largest absolute differences of boxes (pixels), scores, mask probabilities, semantic logits and attention;
    `panoptic`, the share of pixels with the same segment; and how many `images` and `detections` were compared."""


def export(model: str, out: str, images: str | None = None) -> ExportedModel:
    """Write a model as a program of torch.export: a folder of `model.pt2` and `config.json`, which `predict` accepts.

    The program is read back and compared with the network it was made from, on this machine's CPU in float32; only then
    it is written, whole or not at all.

    Args:
        model: a model folder's URI, a run's URI, or `models:/name@alias`.
        out: the folder's URI.
        images: a folder of pictures, of which the first few are compared; None: generated scenes.

    Raises:
        InputError: there is no such model, or it is an exported one, or there are no pictures, or `out` is not empty.
        Refused: the program differs from the network by more than is accepted. Nothing is written.
    """
    source = model_folder(model)
    if PROGRAM in check_listing(source):
        raise InputError(f"--model {model}: {PROGRAM} is an export already; give the model folder it was made from")
    check_empty(out)
    with storage.local_folder(source) as folder, tempfile.TemporaryDirectory() as scratch:
        check_hashes(folder)
        network, target = Predictor.from_folder(folder), Path(scratch)
        assert isinstance(network.model, AUNet)
        print(f"export · {source}", file=sys.stderr)
        torch.export.save(export_network(network.model), target / PROGRAM)
        (target / CONFIG).write_text(json.dumps(network.settings(), indent=1))
        hashes = write_hashes(target)
        program = Predictor.from_folder(target, trust_exported=True)
        parity = measure_parity(network, program, list(_pictures(network, images)))
        print(f"export · {parity}", file=sys.stderr)
        _check(parity, model)
        upload_hashed(target, out)
        uri = storage.absolute(out)
        return ExportedModel(
            uri=uri,
            file=storage.join(uri, PROGRAM),
            sha256=hashes[PROGRAM],
            bytes=(target / PROGRAM).stat().st_size,
            torch=torch.__version__,
            parity=parity,
        )


def _check(parity: dict[str, float], model: str) -> None:
    if exceeded := excesses(parity):
        raise Refused(f"the exported program differs from {model} in {', '.join(exceeded)}; nothing was written")


def _pictures(predictor: Predictor, images: str | None) -> Iterator[NDArray[np.uint8]]:
    """The first of `images`, or scenes at the network's size: a wide, a high and a square one; and noise.

    No plain one: of proposals with exactly the same score, torchvision keeps any.
    """
    if images is not None:
        folder, names = image_files(images)
        yield from (read_image(folder, name) for name in names[:NUM_IMAGES])
        return
    short = predictor.augment.short_sides[-1]
    long = min(short * 4 // 3, predictor.augment.max_size)
    for number, (height, width) in enumerate(((short, long), (long, short), (short, short))):
        yield make_scene(0, "val", number, height, width).image
    yield np.random.default_rng(0).integers(0, 256, (short, long, 3), np.uint8)
