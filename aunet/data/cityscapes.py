"""Cityscapes as distributed: its labels, its file names, and `*_instanceIds.png` as panoptic segments.

The result is that of the data set's own conversion to COCO panoptic format. A pixel of an instanceIds PNG holds a label
id, or 1000 times the label id plus the number of an instance:

* every value becomes one segment with the value as its id and the label id as its category;
* values of labels that the evaluation ignores become void;
* a value below 1000 of a label with instances is a group whose members nobody could tell apart: a crowd.

License plates have the label id -1, and the data set's tools leave them out when they draw: these pixels belong to the
car behind. Tools that do draw them write -1 as 65535, the same 16 bits; it is void here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aunet.categories import Categories, Category
from aunet.data.coco_panoptic import load_picture, measure_segments
from aunet.errors import InputError
from aunet.segments import Segment

_SUFFIX = re.compile(r"_(leftImg8bit|gt(Fine|Coarse)_instanceIds)\.png$")

Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Label:
    """One label of the data set."""

    id: int
    """In the PNGs and, as `category_id`, in results."""
    train_id: int | None
    """Its number among the 19 that are trained and evaluated; None: ignored in evaluation."""
    name: str
    has_instances: bool
    color: Color


LABELS = (
    Label(0, None, "unlabeled", False, (0, 0, 0)),
    Label(1, None, "ego vehicle", False, (0, 0, 0)),
    Label(2, None, "rectification border", False, (0, 0, 0)),
    Label(3, None, "out of roi", False, (0, 0, 0)),
    Label(4, None, "static", False, (0, 0, 0)),
    Label(5, None, "dynamic", False, (111, 74, 0)),
    Label(6, None, "ground", False, (81, 0, 81)),
    Label(7, 0, "road", False, (128, 64, 128)),
    Label(8, 1, "sidewalk", False, (244, 35, 232)),
    Label(9, None, "parking", False, (250, 170, 160)),
    Label(10, None, "rail track", False, (230, 150, 140)),
    Label(11, 2, "building", False, (70, 70, 70)),
    Label(12, 3, "wall", False, (102, 102, 156)),
    Label(13, 4, "fence", False, (190, 153, 153)),
    Label(14, None, "guard rail", False, (180, 165, 180)),
    Label(15, None, "bridge", False, (150, 100, 100)),
    Label(16, None, "tunnel", False, (150, 120, 90)),
    Label(17, 5, "pole", False, (153, 153, 153)),
    Label(18, None, "polegroup", False, (153, 153, 153)),
    Label(19, 6, "traffic light", False, (250, 170, 30)),
    Label(20, 7, "traffic sign", False, (220, 220, 0)),
    Label(21, 8, "vegetation", False, (107, 142, 35)),
    Label(22, 9, "terrain", False, (152, 251, 152)),
    Label(23, 10, "sky", False, (70, 130, 180)),
    Label(24, 11, "person", True, (220, 20, 60)),
    Label(25, 12, "rider", True, (255, 0, 0)),
    Label(26, 13, "car", True, (0, 0, 142)),
    Label(27, 14, "truck", True, (0, 0, 70)),
    Label(28, 15, "bus", True, (0, 60, 100)),
    Label(29, None, "caravan", True, (0, 0, 90)),
    Label(30, None, "trailer", True, (0, 0, 110)),
    Label(31, 16, "train", True, (0, 80, 100)),
    Label(32, 17, "motorcycle", True, (0, 0, 230)),
    Label(33, 18, "bicycle", True, (119, 11, 32)),
    Label(-1, None, "license plate", False, (0, 0, 142)),
)

CATEGORIES = Categories(
    tuple(
        Category(id=label.id, name=label.name, is_thing=label.has_instances, color=label.color)
        for label in LABELS
        if label.train_id is not None
    )
)
"""The 19 labels that are trained and evaluated, by label id, which is also the order of their train ids."""

_LABEL_OF = np.arange(2**16)
_LABEL_OF[1000:] //= 1000
_LABEL_OF[65535] = -1
_UNKNOWN = -1
_SEGMENT_OF = np.full(2**16, _UNKNOWN, np.int32)
"""Value of a pixel → id of its segment, 0 where void."""
_SEGMENT_OF[np.isin(_LABEL_OF, [label.id for label in LABELS])] = 0
_kept = np.isin(_LABEL_OF, [c.id for c in CATEGORIES.entries])
_SEGMENT_OF[_kept] = np.flatnonzero(_kept)


def decode_instance_ids(data: bytes) -> NDArray[np.uint16]:
    """`*_instanceIds.png` → uint16[H, W].

    Raises:
        InputError: not a grey 16-bit PNG, or cut short; the message says which.
    """
    picture = load_picture(data)
    if picture.format != "PNG" or not picture.mode.startswith("I"):
        raise InputError(
            f"a {picture.format} of mode {picture.mode!r}: instanceIds are a grey 16-bit PNG, in 8 bits all instances "
            "of a label would be one; use the file as distributed"
        )
    return np.array(picture).astype(np.uint16)


def panoptic_of(instance_ids: NDArray[np.uint16]) -> tuple[NDArray[np.int32], tuple[Segment, ...]]:
    """The panoptic annotation of one image: int32[H, W] of segment ids, 0 where void, and the segments by id.

    Args:
        instance_ids: uint16[H, W].

    Raises:
        InputError: values that belong to no label.
    """
    ids = _SEGMENT_OF[instance_ids]
    unknown = ids == _UNKNOWN
    if unknown.any():
        values, counts = np.unique(instance_ids[unknown], return_counts=True)
        raise InputError(
            f"value {value} ({count} pixels) belongs to no label of Cityscapes; use the file as distributed"
            for value, count in zip(values.tolist(), counts.tolist(), strict=True)
        )
    segments = []
    for segment_id, (area, bbox) in measure_segments(ids).items():
        category = CATEGORIES.by_id[int(_LABEL_OF[segment_id])]
        is_crowd = category.is_thing and segment_id < 1000
        segments.append(Segment(segment_id, category.id, category.is_thing, area, is_crowd=is_crowd, bbox=bbox))
    return ids, tuple(segments)


def image_id_of(frame: str) -> int:
    """A number for `<city>_<sequence>_<frame>` that depends on nothing else, in 0 … 2**53 - 1.

    The data set numbers nothing; a number by position would change for all when an image is added.
    """
    return int.from_bytes(hashlib.sha256(frame.encode()).digest()[:7]) >> 3


def frame_of(path: str) -> str:
    """`<city>/<city>_<sequence>_<frame>`, the part of a path that an image and its instanceIds PNG share."""
    return _SUFFIX.sub("", path)
