"""The readers that are fuzzed: bytes in, and nothing but an `InputError` out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aunet.config_json import from_json
from aunet.data.coco_json import read_image_info, read_panoptic_json
from aunet.data.coco_panoptic import decode_image, decode_panoptic
from aunet.documents import read_json, read_object
from aunet.errors import InputError
from pipelines.data.manifest import Manifest
from pipelines.presets import shapes_smoke
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig

SEEDS = Path(__file__).parent / "seeds"
BASE = shapes_smoke()
"""What fuzzed overrides change."""


def coco_annotations(data: bytes) -> None:
    """A panoptic JSON, a list of images."""
    read_panoptic_json(data, "fuzz.json", strict=False)
    read_image_info(data, "fuzz.json")


def picture(data: bytes) -> None:
    """An image, a panoptic map."""
    for decode in (decode_image, decode_panoptic):
        try:
            decode(data)
        except InputError:
            continue


def manifest(data: bytes) -> None:
    """The manifest of prepared data."""
    Manifest.from_bytes(data, "manifest.json")


def config(data: bytes) -> None:
    """A run's configuration, and overrides."""
    plain = read_json(data, "config.json")
    try:
        from_json(RunConfig, plain)
    except InputError:
        override(BASE, read_object(data, "config.json"))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "annotations": coco_annotations,
    "picture": picture,
    "manifest": manifest,
    "config": config,
}


def survives(name: str, data: bytes) -> None:
    """Read `data`, whatever it is.

    Raises:
        Exception: anything but an `InputError`, which is a fault of the reader.
    """
    try:
        TARGETS[name](data)
    except InputError as error:
        for problem in error.problems:
            problem.encode()
