"""`preview`: a preset → one page of what the network will see, before a training is paid for."""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from aunet.config import AugmentConfig
from aunet.data.augment import evaluation_size
from aunet.data.sample import Sample, pack_target
from aunet.drawing import draw_panoptic, side_by_side
from aunet.errors import InputError
from aunet.segments import Segment
from pipelines.data.ingest import sample_plan
from pipelines.data.preparation import Tasks, in_parallel
from pipelines.data.shard_writer import ShardResult, write_shard
from pipelines.data.shards import ShardReader
from pipelines.data.step_decoder import StepDecoder
from pipelines.lint.census import Census, vanishing
from pipelines.pages.preview import PreviewDocument, render_preview
from pipelines.preprocess import preprocess
from pipelines.presets import PRESETS
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store import storage
from pipelines.store.artifacts import VerbResult
from pipelines.training.advice import advice, foreign_name

NEARBY_IMAGES = 2000
"""Up to so many images are prepared in this process, without a Ray."""
MOST_SAMPLES = 48
WIDTH = 900
"""Pixels of a picture of the page, at most."""
PICTURE_BYTES = 2_000_000
"""Of all pictures: the page is to stay below 3 MB."""
TINY = 4
"""Pixels below which an object teaches nothing."""
TINY_SHARE = 0.01
"""Share of tiny objects from which there is a warning."""
NUM_SIZES = 8
BOX_COLOR = (255, 255, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview(VerbResult):
    """The page, and the figures in it."""

    uri: str
    """Of the page."""
    samples: int
    """Drawn."""
    steps: int
    steps_per_epoch: float
    warmup_steps: int
    warnings: tuple[str, ...]
    objects: tuple[dict[str, Any], ...]
    """Per kind of thing: `id name objects median`, and how many are smaller than each limit."""
    classes: tuple[dict[str, Any], ...]
    """Per category: `id name isthing segments crowds pixels images`."""


def preview(config: RunConfig, *, out: str | None = None, samples: int = 12) -> Preview:
    """Write the page; data that are not prepared are prepared first, as a training would do.

    Args:
        out: HTML file or URI; None: `NAME-preview.html` in the working folder.
        samples: training samples that are drawn, fewer where the page would become too large.

    Raises:
        InputError: an option is not what it should be, or something is wrong with the data.
    """
    if not 1 <= samples <= MOST_SAMPLES:
        raise InputError(f"--samples = {samples}: use 1 … {MOST_SAMPLES}")
    out = out or f"{config.name}-preview.html"
    prepared = preprocess(config, run_tasks=_write_nearby)
    reader = ShardReader(prepared.uri, "train")
    categories, plan = reader.manifest.categories, sample_plan(config, reader)
    census = _census(reader, config.augment)
    classes, anchors = census.rows(categories.entries), config.model.rpn.anchor_sizes
    limits = {f"under {TINY} px": TINY, f"under the smallest anchor, {min(anchors)} px": min(anchors)}
    objects = vanishing(census, categories.entries, limits)
    warnings = [
        *advice(config, len(reader)),
        *_warnings(config, census, classes),
        *foreign_name(config, PRESETS),
    ]
    train, per_epoch = config.train, len(reader) / config.train.batch_size
    decoder = StepDecoder(
        reader, plan, categories, config.augment, config.model.background.thing_labels, 0, 1, micro_batches=1
    )
    shots = list(_shots(decoder, samples))
    facts = {
        "data": f"{len(reader)} + {prepared.num_images['val']} images, {prepared.uri}",
        "steps": f"{plan.num_steps} of {train.batch_size} images, {per_epoch:.4g} in an epoch, {train.epochs} epochs",
        "warm-up": f"{train.warmup_steps} steps, {train.warmup_steps / plan.num_steps:.0%} of all",
        "anchors": f"{', '.join(map(str, anchors))} pixels",
        "registered as": config.register.model_name,
    }
    document = PreviewDocument(
        title=f"What {config.name} will see",
        facts=facts,
        warnings=warnings,
        samples=shots,
        sizes=_sizes(reader, config.augment),
        objects=objects,
        classes=classes,
        config=to_json(config),
    )
    storage.write_bytes(out, render_preview(document).encode())
    for line in (*(f"warning: {text}" for text in warnings), f"{out}: {len(shots)} samples; open it in a browser"):
        print(line, file=sys.stderr)
    return Preview(
        uri=storage.absolute(out),
        samples=len(shots),
        steps=plan.num_steps,
        steps_per_epoch=per_epoch,
        warmup_steps=train.warmup_steps,
        warnings=tuple(warnings),
        objects=tuple(objects),
        classes=tuple(classes),
    )


def _write_nearby(tasks: Tasks) -> Iterable[ShardResult]:
    """Few images are prepared here: a Ray would take longer to start."""
    return in_parallel(tasks) if sum(tasks.num_images.values()) > NEARBY_IMAGES else map(write_shard, tasks)


def _census(reader: ShardReader, config: AugmentConfig) -> Census:
    """Counts of the training split, objects in pixels at the size used in evaluation; no picture is read."""
    census, by_id = Census(), reader.manifest.categories.by_id
    for row in reader.annotations():
        height, width = row["height"], row["width"]
        segments = [
            Segment(
                id=s["id"],
                category_id=s["category_id"],
                is_thing=by_id[s["category_id"]].is_thing,
                area=s["area"],
                is_crowd=s["is_crowd"],
                bbox=tuple(s["bbox"]),
            )
            for s in row["segments"]
        ]
        unit = min(height, width) / min(evaluation_size(height, width, config))
        census.add(height, width, segments, unit)
    return census


def _warnings(config: RunConfig, census: Census, classes: list[dict[str, Any]]) -> Iterator[str]:
    """What is probably not meant about data and sizes."""
    if absent := [row["name"] for row in classes if not row["segments"]]:
        names = ", ".join(absent[:5]) + (", …" if len(absent) > 5 else "")
        yield f"{len(absent)} of {len(classes)} categories have no segment to learn from: {names}; add or drop them"
    objects = census.all_things
    if not objects.total:
        return
    tiny = objects.below(TINY)
    if tiny > TINY_SHARE * objects.total:
        yield (
            f"{tiny} of {objects.total} objects are smaller than {TINY} pixels in the network; use larger "
            f"--augment.short_sides than {' '.join(map(str, config.augment.short_sides))} (and a larger max_size), or "
            "leave such objects out"
        )
    crop = config.augment.crop
    if crop and (median := objects.quantile(0.5)) > min(crop):
        yield (
            f"augment.crop = {crop}: half of the objects have more than {median:.0f} pixels and are never seen as a "
            "whole; use a larger --augment.crop, or smaller --augment.short_sides"
        )


def _sizes(reader: ShardReader, config: AugmentConfig) -> list[tuple[str, str, int]]:
    """The most frequent sizes, and what they become."""
    rows = []
    for (height, width), count in Counter(reader.sizes).most_common(NUM_SIZES):
        new_height, new_width = evaluation_size(height, width, config)
        rows.append((f"{width}×{height}", f"{new_width}×{new_height}", count))
    return rows


def _shots(decoder: StepDecoder, most: int) -> Iterator[tuple[bytes, str]]:
    """JPEGs of the first samples of the training, until there are enough or they are too many bytes."""
    num_drawn = num_bytes = 0
    for step in range(decoder.plan.num_steps):
        for sample in decoder.samples(step):
            jpeg, caption = _shot(sample, decoder)
            num_bytes += len(jpeg)
            if num_drawn == most or num_bytes > PICTURE_BYTES:
                return
            num_drawn += 1
            yield jpeg, f"step {step + 1}, {caption}"


def _shot(sample: Sample, decoder: StepDecoder) -> tuple[bytes, str]:
    """The image beside its segments and boxes."""
    target = pack_target(sample, decoder.categories, decoder.thing_labels)
    drawn = draw_panoptic(sample.image, sample.true_ids(), sample.true_segments(), decoder.categories)
    canvas = Image.fromarray(drawn)
    factor = drawn.shape[0] / sample.image.shape[0]
    for x1, y1, x2, y2 in (target.boxes * factor).tolist():
        ImageDraw.Draw(canvas).rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=BOX_COLOR, width=2)
    height, width = sample.image.shape[:2]
    picture = Image.fromarray(side_by_side([sample.image, np.array(canvas)], ["image", "what it learns"]))
    picture.thumbnail((WIDTH, WIDTH))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue(), f"image {sample.image_id}, {width}×{height}, {len(target.boxes)} objects"
