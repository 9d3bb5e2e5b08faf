"""The splits of a folder in COCO panoptic format, as `import-data` writes it, by the names of its files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aunet.errors import InputError
from pipelines.store import storage

_JSON = re.compile(r"panoptic_([^/]+)\.json")
ANNOTATIONS = "annotations"
VAL_SHARE = 5
"""Where a folder has no validation split, about one image in so many becomes one."""
WHOLE = 2**64
"""Positions of names, of which the lowest are those of the validation split."""
MOST_CHOSEN = 1000
"""Images up to which a preset lists those of its splits."""
FORMAT = (
    "give a folder in COCO panoptic format: images in train/ and val/, annotations/panoptic_train.json with PNGs in "
    "annotations/panoptic_train/, and the same for val; import-data writes one"
)


@dataclass(frozen=True, slots=True)
class RawSplitPaths:
    """Where a split is, relative to the data's folder."""

    images: str
    panoptic_json: str
    panoptic_dir: str


def find_splits(root: str) -> tuple[RawSplitPaths, RawSplitPaths | None]:
    """The training and the validation split of a folder; None: it has one split only.

    Raises:
        InputError: it is no such folder, or it is not clear which split is which.
    """
    folder = storage.join(root, ANNOTATIONS)
    if not storage.exists(root) and not storage.list_folders(root):
        raise InputError(f"--data {root}: no such folder; create it or correct the path")
    files = [file.path for file in storage.list_files(folder)] if ANNOTATIONS in storage.list_folders(root) else []
    names = [match[1] for path in files if (match := _JSON.fullmatch(path))]
    if not names:
        raise InputError(f"--data {root}: no {ANNOTATIONS}/panoptic_*.json there; {FORMAT}")
    train, val = ([name for name in names if name.startswith(kind)] for kind in ("train", "val"))
    if len(names) == 1:
        return _paths(root, names[0]), None
    if len(train) != 1 or len(val) != 1:
        raise InputError(
            f"--data {root}: splits {', '.join(names)}, of which one should begin with train and one with val; "
            "rename the files, or write the preset by hand"
        )
    return _paths(root, train[0]), _paths(root, val[0])


def _paths(root: str, name: str) -> RawSplitPaths:
    candidates = (name, f"images/{name}", "images")
    folders = {*storage.list_folders(root), *(f"images/{sub}" for sub in storage.list_folders(f"{root}/images"))}
    images = next((path for path in candidates if path in folders), None)
    if images is None:
        raise InputError(f"--data {root}: no images of split {name}, in none of {', '.join(candidates)}; {FORMAT}")
    return RawSplitPaths(images, f"{ANNOTATIONS}/panoptic_{name}.json", f"{ANNOTATIONS}/panoptic_{name}")


def chosen_for_val(file_names: Sequence[str]) -> set[str]:
    """The files of a validation split that is cut from one split: about a fifth of them, those of `--val-share 0.2`.

    A hash of its name alone decides on each file, so files that are added move none; only where all would come into
    one split, the last of them by this hash, or the first, is in the other.

    Args:
        file_names: two or more.
    """
    ordered = sorted(file_names, key=_position)
    count = sum(_position(name) < WHOLE / VAL_SHARE for name in ordered)
    return set(ordered[: min(max(count, 1), len(ordered) - 1)])


def _position(file_name: str) -> int:
    """0 … `WHOLE` - 1, by a hash of the name, the one of `import-data --val-share`."""
    return int.from_bytes(hashlib.sha256(b"split " + file_name.encode(errors="replace")).digest()[:8], "big")
