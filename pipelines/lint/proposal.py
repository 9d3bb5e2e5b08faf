"""From the counts of a data set to the settings of a preset for it, each with its reason. Pure rules, no files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aunet.categories import Categories
from pipelines.lint.census import Census

LEAST_OBJECT = 16
"""Pixels that nine of ten objects should have in the network: four cells of its finest level."""
CPU_SIDE, GPU_SIDE = 384, 800
"""The largest shorter side that is proposed, for time and memory."""
LEAST_SIDE = 96
MOST_EACH = 30
"""Kinds of things up to which each has a label of its own in the background branch."""
RARE_SHARE = 0.01
"""Share of all labelled pixels below which a category is rare."""
CPU_SAMPLES, GPU_SAMPLES = 9_000, 200_000
"""Images that a training sees in all: an hour or so on a few CPUs, and on a GPU."""
LEAST_EPOCHS, MOST_EPOCHS = 12, 100
WARMUP_SHARE, MOST_WARMUP = 10, 1000
"""The warm-up is one step in so many, and never longer than that many steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a training may use."""

    gpus: int = 0
    """0: it runs on CPUs."""
    pretrained: bool = True
    """Whether weights of a small backbone are installed."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a preset."""

    name: str
    """Dotted, as on the command line."""
    value: Any
    """Plain JSON."""
    reason: str


def propose(census: Census, categories: Categories, budget: Budget) -> list[Setting]:
    """Settings for a training on these images, in the order in which one decides them.

    Args:
        census: of the training split, with at least one image.
    """
    side, why_side = _short_side(census, budget)
    return [
        Setting("augment.short_sides", [side], why_side),
        *_geometry(census, side),
        *_categories(census, categories),
        *_training(census.images, budget),
    ]


def _short_side(census: Census, budget: Budget) -> tuple[int, str]:
    """Large enough for the small objects, no larger than the images, within the budget."""
    native, most = census.short_sides.quantile(0.5), GPU_SIDE if budget.gpus else CPU_SIDE
    machine = "GPUs" if budget.gpus else "CPUs"
    highest = min(_multiple(native, down=True), most)
    objects = census.all_things
    wanted = LEAST_OBJECT / objects.quantile(0.1) if objects.total else highest
    side = max(LEAST_SIDE, min(highest, max(_multiple(wanted), _multiple(highest / 2))))
    sizes = f"the images' shorter side is about {native:.0f} pixels"
    if not objects.total:
        return side, f"{sizes}, and {most} is the most that is proposed for {machine}"
    seen = objects.quantile(0.1) * side
    limit = f"; {most} is the most that is proposed for {machine}" if side == most else ""
    return side, f"nine of ten objects are then larger than {seen:.0f} pixels; {sizes}{limit}"


def _geometry(census: Census, side: int) -> Iterator[Setting]:
    """What depends on the size that the network sees."""
    low, aspect, high = (census.aspects.quantile(share) for share in (0.05, 0.5, 0.95))
    longest = max(high, 1 / low)
    longer = _multiple(side * min(longest, 2))
    yield Setting("augment.max_size", longer, f"room for images of 1 : {min(longest, 2):.2g}")
    few = census.images < 1000
    scale = [0.5, 1.3] if few else [0.7, 1.3]
    why = (
        f"{census.images} images are few: the more sizes, the less it learns them by heart"
        if few
        else f"{census.images} images: objects come in many sizes already"
    )
    yield Setting("augment.scale", scale, why)
    objects = census.all_things
    large = objects.quantile(0.9) * side if objects.total else 0
    shorter = min(side, max(_multiple(1.25 * large), _multiple(side / 2)))
    is_mixed = low < 1 < high
    ratio = 1 if is_mixed else min(max(aspect, 1 / aspect), 2)
    across = [shorter, min(longer, _multiple(shorter * ratio))]
    crop = across if aspect >= 1 else across[::-1]
    shape = "square, as there are wide and high images" if is_mixed else "of the images' shape"
    fits = f"nine of ten objects are smaller than {large:.0f} pixels and fit" if objects.total else "half of the side"
    yield Setting("augment.crop", crop, f"{fits}; {shape}")
    yield Setting("augment.color", 0.5 if few else 0.3, "brightness and colours vary, as between cameras and hours")
    smallest, largest = (objects.quantile(share) * side if objects.total else 0 for share in (0.1, 0.95))
    first = min(max(4 * round(smallest / 4), 8), 32)
    step = min(max((largest / first) ** 0.25, 1.6), 2.0)
    anchors = [round(first * step**level) for level in range(5)]
    reach = f"most objects have {smallest:.0f} … {largest:.0f} pixels at this size"
    yield Setting("model.rpn.anchor_sizes", anchors, reach if objects.total else "no objects: the usual ones")
    image, stuff = census.pixels.quantile(0.5), census.stuff_areas
    share = 0.005 * image
    area = min(share, stuff.quantile(0.05)) if stuff.total else share
    cure = "stuff in smaller patches becomes void: " + (
        "0.5 % of an image" if area == share else "19 of 20 of its segments are larger"
    )
    yield Setting("fusion.stuff_area", max(1, _round(area)), f"{cure}, in pixels of the original")


def _categories(census: Census, categories: Categories) -> Iterator[Setting]:
    things = len(categories.things)
    each = 1 < things <= MOST_EACH
    few = f"{things} kinds of things: the background branch tells them apart" if each else f"{things} kinds of things"
    yield Setting("model.background.thing_labels", "each" if each else "one", few)
    rows = [row for row in census.rows(categories.entries) if row["pixels"]]
    total = sum(row["pixels"] for row in rows)
    rare = [row["name"] for row in rows if row["pixels"] < RARE_SHARE * total]
    names = ", ".join(rare[:3]) + (", …" if len(rare) > 3 else "")
    reason = f"less than 1 % of all pixels: {names}; the hardest pixels count" if rare else "no category is rare"
    yield Setting("model.background.hard_pixels", 0.3 if rare else 1.0, reason)
    yield Setting("loss.semantic", 1.0, "stuff and things weigh the same")


def _training(images: int, budget: Budget) -> Iterator[Setting]:
    workers = budget.gpus or (2 if images >= 4 else 1)
    yield Setting("train.num_workers", workers, "one for each GPU" if budget.gpus else "CPUs that train")
    yield Setting("train.use_gpu", budget.gpus > 0, "as --gpus says")
    most = 16 if images >= 128 or budget.gpus else 8
    batch = workers * max(1, min(most, images) // workers)
    yield Setting("train.batch_size", batch, f"{images / batch:.3g} steps in an epoch; a multiple of the workers")
    samples = GPU_SAMPLES if budget.gpus else CPU_SAMPLES
    epochs = min(max(round(samples / images), LEAST_EPOCHS), MOST_EPOCHS)
    steps = max(1, images * epochs // batch)
    yield Setting("train.epochs", epochs, f"{steps} steps, {epochs * images} images in all")
    warmup = max(1, min(steps // WARMUP_SHARE, MOST_WARMUP)) if steps > 1 else 0
    yield Setting(
        "train.warmup_steps", warmup, f"a tenth of the {steps} steps at most, or it never trains at full rate"
    )
    yield Setting("train.warmup_factor", 0.01, "starts at a hundredth of the rate")
    yield Setting("train.optimizer", "adamw", "finds its scale by itself; few steps suffice")
    rate = 6e-4 if budget.pretrained else 1e-3
    reason = "pretrained: not so fast that it forgets" if budget.pretrained else "from random weights"
    yield Setting("train.lr", rate, reason)
    yield Setting("train.weight_decay", 0.01, "usual with adamw")
    yield Setting("train.schedule", "flat_cosine", "full rate for half of the run, then down to 0")
    yield Setting("train.clip_norm", 5.0, "one odd batch cannot spoil the weights")
    average = round(min(max(1 - 20 / steps, 0.5), 0.9998), 4)
    yield Setting("train.ema", average, "evaluates the average of about the last twentieth of the steps")
    yield Setting("train.checkpoint_every", 5, "epochs; a run that is stopped goes on from there")


def _multiple(pixels: float, *, down: bool = False) -> int:
    """A multiple of 32, the coarsest stride, at least one."""
    return max(32, 32 * (math.floor(pixels / 32) if down else math.ceil(pixels / 32 - 1e-9)))


def _round(number: float) -> int:
    """To two digits."""
    digits = max(0, math.floor(math.log10(max(number, 1))) - 1)
    return int(round(number / 10**digits) * 10**digits)
