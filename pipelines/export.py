"""`export`: a model → one file that PyTorch runs without this project's model code, if it agrees with the network."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aunet.errors import InputError, Refused
from pipelines import storage

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from aunet.model import Output
    from aunet.predictor import Predictor

TOLERANCE = {"boxes": 0.01, "scores": 1e-4, "mask_probs": 1e-3, "logits": 1e-3, "attention": 1e-4}
"""Largest difference that is let pass; of the boxes in pixels of the network's input."""
AGREEMENT = 0.999
"""Least share of the pixels of a panoptic map that have the same segment."""
NUM_IMAGES = 4
"""Pictures that are compared, of `images` or generated."""


def export(model: str, out: str, images: str | None = None) -> dict[str, Any]:
    """Write a model as a program of torch.export: a folder of `model.pt2` and `config.json`, which `predict` takes too.

    The program is read back and compared with the network it was made of, on this machine's CPU in float32; only then
    it is written.

    Args:
        model: a model folder's URI, a run's URI, or `models:/name@alias`.
        out: the folder's URI.
        images: a folder of pictures, of which the first few are compared; None: generated scenes.

    Returns:
        `uri`, `file`, its `sha256` and size in `bytes`, the `torch` it was made with, and `parity`: the largest
        absolute differences of boxes (pixels), scores, mask probabilities, semantic logits and attention; `panoptic`,
        the share of pixels with the same segment; and how many `images` and `detections` that was measured on.

    Raises:
        InputError: there is no such model, or it is an exported one, or there are no pictures, or `out` is a model.
        Refused: the program differs from the network by more than `TOLERANCE` and `AGREEMENT`. Nothing is written.
    """
    import torch

    from aunet.export import PROGRAM, export_network
    from aunet.model import AUNet
    from aunet.predictor import CONFIG, WEIGHTS, Predictor
    from pipelines.checkpoint import HASHES, check_hashes, write_hashes
    from pipelines.predict import model_folder

    source = model_folder(model)
    if storage.exists(storage.join(out, WEIGHTS)):
        raise InputError(f"--out {out}: a model folder, which has a {WEIGHTS}; give another one")
    with storage.local_folder(source) as folder, tempfile.TemporaryDirectory() as scratch:
        check_hashes(folder)
        network, target = Predictor.from_folder(folder), Path(scratch)
        if not isinstance(network.model, AUNet):
            raise InputError(f"--model {model}: {PROGRAM} is an export already; give the model folder it was made from")
        print(f"export · {source}", file=sys.stderr)
        torch.export.save(export_network(network.model), target / PROGRAM)
        (target / CONFIG).write_text(json.dumps(network.settings(), indent=1))
        write_hashes(target)
        parity = measure_parity(network, Predictor.from_folder(target), list(_pictures(network, images)))
        print(f"export · {parity}", file=sys.stderr)
        _check(parity, model)
        storage.upload_folder(target, out)
        return {
            "uri": storage.absolute(out),
            "file": storage.join(storage.absolute(out), PROGRAM),
            "sha256": json.loads((target / HASHES).read_text())[PROGRAM],
            "bytes": (target / PROGRAM).stat().st_size,
            "torch": torch.__version__,
            "parity": parity,
        }


def measure_parity(network: Predictor, program: Predictor, pictures: list[np.ndarray]) -> dict[str, float]:
    """How far apart two predictors are, at one scale: `parity` as `export` returns it, infinite where they find others.

    Args:
        pictures: uint8[H, W, 3] RGB, one or more.
    """
    worst: dict[str, float] = dict.fromkeys(TOLERANCE, 0.0)
    same = detections = 0
    for predictor in (network, program):
        predictor.augment = replace(predictor.augment, test_scales=(1.0,), test_flip=False)
    for picture in pictures:
        wanted, found = network.run([picture])[0], program.run([picture])[0]
        worst = {name: max(worst[name], other) for name, other in _differences(wanted, found).items()}
        detections += len(wanted.instances.scores[0])
        maps = [predictor([picture])[0].panoptic.ids for predictor in (network, program)]
        same += int((maps[0] == maps[1]).sum())
    pixels = sum(picture.shape[0] * picture.shape[1] for picture in pictures)
    return {**worst, "panoptic": same / pixels, "images": len(pictures), "detections": detections}


def _differences(wanted: Output, found: Output) -> dict[str, float]:
    """The largest absolute difference of each of `TOLERANCE`, for one image; infinite where it is no number."""
    import torch

    (labels,), (others,) = wanted.instances.labels, found.instances.labels
    alike = torch.equal(labels, others)

    def apart(name: str) -> float:
        if not alike:
            return float("inf")
        (ours,), (theirs,) = getattr(wanted.instances, name), getattr(found.instances, name)
        return largest(ours - theirs)

    def largest(difference: Tensor) -> float:
        return float(difference.abs().nan_to_num(nan=torch.inf).max()) if difference.numel() else 0.0

    ours, theirs = wanted.scene, found.scene
    return {
        **{name: apart(name) for name in ("boxes", "scores", "mask_probs")},
        "logits": largest(ours.logits - theirs.logits),
        "attention": max((largest(m - theirs.attention[name]) for name, m in ours.attention.items()), default=0.0),
    }


def _check(parity: dict[str, float], model: str) -> None:
    wrong = [
        f"{name} by {parity[name]:.2g} (at most {most})" for name, most in TOLERANCE.items() if parity[name] > most
    ]
    if parity["panoptic"] < AGREEMENT:
        wrong.append(f"{1 - parity['panoptic']:.2%} of the pixels (at most {1 - AGREEMENT:.2%})")
    if wrong:
        raise Refused(f"the exported program differs from {model} in {', '.join(wrong)}; nothing was written")


def _pictures(predictor: Predictor, images: str | None) -> Iterator[np.ndarray]:
    """The first of `images`, or scenes at the network's size: a wide, a high and a square one; and noise.

    No plain one: of proposals with exactly the same score, torchvision keeps any.
    """
    import numpy as np

    from aunet.data.shapes import make_scene
    from pipelines.predict import decode, image_names

    if images is not None:
        yield from (decode(images, name) for name in image_names(images)[:NUM_IMAGES])
        return
    short = predictor.augment.short_sides[-1]
    long = min(short * 4 // 3, predictor.augment.max_size)
    for number, (height, width) in enumerate(((short, long), (long, short), (short, short))):
        yield make_scene(0, "val", number, height, width).image
    yield np.random.default_rng(0).integers(0, 256, (short, long, 3), np.uint8)
