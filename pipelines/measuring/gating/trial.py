"""A fresh process that loads models and labels a few images: `python -m …gating.trial OUT < request`.

The request is `rehearsal`'s, in JSON; the answer is written to the file OUT.
"""

from __future__ import annotations

import base64
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aunet.data.coco_panoptic import encode_panoptic
from aunet.data.shapes import make_scene
from aunet.errors import InputError, Unavailable
from aunet.predictor import ImageLike, Predictor
from pipelines.measuring.models import load_predictor

REPEATS = 5
"""How often each image is timed, after one time that does not count."""

Label = Callable[[ImageLike], object]


def map_hashes(predictor: Predictor, images: Sequence[ImageLike]) -> list[str]:
    """SHA-256 of each image's panoptic map, as a PNG, and of its segments."""
    hashes = []
    for image in images:
        panoptic = predictor([image])[0].panoptic
        segments = json.dumps([segment.to_json() for segment in panoptic.segments], sort_keys=True)
        png = encode_panoptic(panoptic.ids.cpu().numpy())
        hashes.append(hashlib.sha256(png + segments.encode()).hexdigest())
    return hashes


def time_in_turns(
    label: Label, other: Label, images: Sequence[ImageLike], clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float, float]:
    """Median milliseconds per image of two models that take turns, and how many times as long the first one needs.

    Other work on the machine lengthens single times, by half and more. Two figures bear that in different ways, the
    median ratio of neighbours and the ratio of the shortest times of each image; the smaller one counts.
    """

    def seconds(work: Label, image: ImageLike) -> float:
        begun = clock()
        work(image)
        return clock() - begun

    for image in images:
        label(image)
        other(image)
    pairs = [[(seconds(label, image), seconds(other, image)) for image in images] for _ in range(REPEATS)]
    neighbours = statistics.median(own / max(theirs, 1e-9) for turn in pairs for own, theirs in turn)
    shortest = [tuple(map(min, zip(*turns, strict=True))) for turns in zip(*pairs, strict=True)]
    best = statistics.median(own / max(theirs, 1e-9) for own, theirs in shortest)
    columns = zip(*(pair for turn in pairs for pair in turn), strict=True)
    own_ms, their_ms = (1000 * statistics.median(column) for column in columns)
    return own_ms, their_ms, min(neighbours, best)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What a request asks for: hashes of the maps of `ours`, and times where there is `theirs`.

    Raises:
        InputError: a model cannot be loaded.
    """
    ours = load_predictor(request["ours"])
    images: list[ImageLike] = [base64.b64decode(image) for image in request["images"]] or scenes(ours)
    result: dict[str, Any] = {"maps": map_hashes(ours, images), "images": len(images)}
    if request["theirs"]:
        theirs = load_predictor(request["theirs"])
        own_ms, their_ms, ratio = time_in_turns(lambda image: ours([image]), lambda image: theirs([image]), images)
        result |= {"ms": own_ms, "their_ms": their_ms, "slowdown": ratio}
    return result


def scenes(predictor: Predictor) -> list[ImageLike]:
    """Generated scenes at a network's size, where there are no frozen images."""
    short = predictor.augment.short_sides[-1]
    return [make_scene(0, "val", number, short, short * 4 // 3).image for number in range(2)]


def main() -> int:
    """Answer the request on stdin."""
    try:
        Path(sys.argv[1]).write_text(json.dumps(answer(json.load(sys.stdin))))
    except (InputError, Unavailable) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
