"""Three short training curves, every loss of every step, as they were written to `tests/golden/curves`.

In float64: it keeps six digits through all steps on any CPU with AVX2 or AVX-512. In float32 other instructions round
differently, the RPN then ranks proposals differently, and after some steps the curves have no digit in common.

`python -m tests.aunet.test_golden_curves` writes them anew, after a change that is meant to change them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aunet.config import AugmentConfig, AUNetConfig, BackgroundConfig, LossWeights
from aunet.data.augment import augment
from aunet.data.coco_panoptic import encode_panoptic
from aunet.data.sample import Sample, decode_sample, pack, pack_target
from aunet.data.shapes import CATEGORIES, make_scene
from aunet.losses import Losses
from aunet.model import build_model
from aunet.structures import Batch
from tests.tiny import TINY, with_attention

GOLDEN = Path(__file__).parent.parent / "golden/curves"
NUM_STEPS, NUM_SCENES, BATCH_SIZE = 12, 8, 2
HEIGHT, WIDTH = 96, 128
AUGMENT = AugmentConfig(short_sides=(HEIGHT,))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What one curve is trained with."""

    model: AUNetConfig
    loss: LossWeights = field(default_factory=LossWeights)
    augment: AugmentConfig = AUGMENT
    lr: float = 0.02


RECIPES = {
    "e2e": Recipe(model=with_attention(TINY, pam=False, mam=False, reweight=False)),
    "aunet": Recipe(model=TINY),
    "cityscapes": Recipe(
        model=replace(
            with_attention(TINY, mam=False),
            background=BackgroundConfig(channels=16, convs=(1, 1, 1, 1), thing_labels="each"),
        ),
        loss=LossWeights(box=0.75, semantic=1.0),
        augment=replace(AUGMENT, crop=(64, 96)),
        lr=0.01,
    ),
}


@contextmanager
def one_thread() -> Iterator[None]:
    """The number of threads decides in which order numbers are added."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


def scene(index: int) -> Sample:
    """A generated scene as it is decoded from a shard, but for its image, which is a PNG."""
    drawn, encoded = make_scene(0, "train", index, HEIGHT, WIDTH), io.BytesIO()
    Image.fromarray(drawn.image).save(encoded, "PNG")
    segments = [
        {"id": s.id, "category_id": s.category_id, "area": s.area, "is_crowd": s.is_crowd} for s in drawn.segments
    ]
    row = {"image_id": index, "image": encoded.getvalue(), "panoptic": encode_panoptic(drawn.ids), "segments": segments}
    return decode_sample(row, CATEGORIES)


def batch_of(step: int, scenes: list[Sample], recipe: Recipe) -> Batch:
    """The images of a step, one scene after the other, over and over, each time augmented differently."""
    rng = np.random.default_rng([0, step])
    first = step * BATCH_SIZE
    samples = [augment(scenes[n % NUM_SCENES], recipe.augment, rng) for n in range(first, first + BATCH_SIZE)]
    targets = [pack_target(s, CATEGORIES, recipe.model.background.thing_labels) for s in samples]
    return pack(samples, targets).to("cpu")


def train(recipe: Recipe) -> list[Losses]:
    """The losses of `NUM_STEPS` steps of SGD."""
    scenes = [scene(index) for index in range(NUM_SCENES)]
    torch.manual_seed(0)
    model = build_model(recipe.model, CATEGORIES).double().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=1e-4)
    curve = []
    for step in range(NUM_STEPS):
        torch.manual_seed(step)
        losses = model(batch_of(step, scenes, recipe))
        optimizer.zero_grad()
        losses.total(recipe.loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        curve.append(losses)
    return curve


def as_text(curve: list[Losses]) -> str:
    """One line per step: its number from 1, then the four losses to six significant digits."""
    lines = [" ".join(["step", *Losses._fields])]
    lines += [" ".join([str(step), *(f"{loss:#.6g}" for loss in losses)]) for step, losses in enumerate(curve, start=1)]
    return "\n".join(lines) + "\n"


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="without AVX2, torch draws other normal numbers from the same seed",
)
@pytest.mark.parametrize("name", RECIPES)
def test_the_curve_is_as_it_was(name: str) -> None:
    with one_thread():
        curve = as_text(train(RECIPES[name]))
    assert curve == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def main() -> None:
    """Write the curves anew."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, recipe in RECIPES.items():
        with one_thread():
            (GOLDEN / f"{name}.txt").write_text(as_text(train(recipe)), encoding="utf-8")


if __name__ == "__main__":
    main()
