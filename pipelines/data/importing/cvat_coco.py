"""CVAT's "COCO 1.0", in which every mask is marked as a crowd: masks drawn with its brush or by a model are objects.

Its exporter writes masks, and nothing else, as run lengths, and all of them with `iscrowd: 1`. Every shape has
`occluded` among its `attributes`, which the entries of COCO's own files lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aunet.categories import read_flag


def is_cvat_mask(entry: Mapping[str, Any]) -> bool:
    """Whether an annotation is as CVAT writes a mask."""
    attributes = entry.get("attributes")
    return _is_crowd(entry) and _is_run_length(entry) and isinstance(attributes, Mapping) and "occluded" in attributes


def means_crowds(entry: Mapping[str, Any]) -> bool:
    """Whether an annotation shows that its file means crowds: run lengths that are not one, or an outline that is."""
    return bool(entry.get("segmentation")) and _is_crowd(entry) != _is_run_length(entry)


def _is_crowd(entry: Mapping[str, Any]) -> bool:
    return read_flag(entry.get("iscrowd")) is True


def _is_run_length(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("segmentation"), Mapping)
