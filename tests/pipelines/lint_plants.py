"""Defects to plant in the training split of the generated data set, one rule at a time."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
IMAGE = 2
"""The image that most plants damage; its files are 000001.jpg and 000001.png."""
ENTRY = IMAGE - 1
"""Index of its image and annotation in the JSON."""


@dataclass
class Raw:
    """The data set in a folder, and ways to damage it."""

    root: Path

    @property
    def jpg(self) -> Path:
        return self.root / "train/000001.jpg"

    @property
    def png(self) -> Path:
        return self.root / "annotations/panoptic_train/000001.png"

    @property
    def json(self) -> Path:
        return self.root / "annotations/panoptic_train.json"

    @property
    def options(self) -> dict[str, Any]:
        return {
            "images": str(self.root / "train"),
            "panoptic_json": str(self.json),
            "panoptic_dir": str(self.root / "annotations/panoptic_train"),
        }

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.json.read_bytes())

    def change(self, change: Callable[[dict[str, Any]], Any]) -> None:
        document = self.document
        change(document)
        self.json.write_text(json.dumps(document))

    def change_segment(self, **changes: Any) -> int:
        """Change the first thing (or crowd) of the image; returns its id."""
        segment = self.segment("thing")
        self.change(lambda w: _segment_of(w, segment).update(changes))
        return segment

    def segment(self, kind: str = "thing") -> int:
        things = {c["id"] for c in self.document["categories"] if c["isthing"]}
        infos = self.document["annotations"][ENTRY]["segments_info"]
        return next(s["id"] for s in infos if (s["category_id"] in things) == (kind == "thing"))

    def picture(self) -> Image.Image:
        return Image.open(self.jpg).convert("RGB")

    def map(self) -> np.ndarray:
        return np.array(Image.open(self.png).convert("RGB"))

    def paint(self, old: int, new: int) -> None:
        """Give the pixels of one id another id."""
        pixels = self.map().astype(np.int64)
        ids = pixels @ [1, 256, 65536]
        pixels[ids == old] = [new & 255, new >> 8 & 255, new >> 16]
        Image.fromarray(pixels.astype(np.uint8)).save(self.png)


def _segment_of(document: dict[str, Any], segment: int) -> dict[str, Any]:
    return next(s for s in document["annotations"][ENTRY]["segments_info"] if s["id"] == segment)


def _save(picture: Image.Image, path: Path, **options: Any) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if path.suffix == ".jpg" else "PNG", **options)
    path.write_bytes(buffer.getvalue())


def _rotated(raw: Raw) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    _save(raw.picture(), raw.jpg, exif=exif)


def _deep_image(raw: Raw) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((64, 80), 1000, np.uint16)).save(buffer, "PNG")
    raw.jpg.write_bytes(buffer.getvalue())


def _without(document: dict[str, Any], *path: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    del document[path[-1]]


def _unpaint(raw: Raw, **changes: Any) -> int:
    segment = raw.change_segment(**changes)
    raw.paint(segment, 0)
    return segment


def _stranger(raw: Raw) -> int:
    segment = raw.segment()
    raw.change(lambda w: w["annotations"][ENTRY]["segments_info"].remove(_segment_of(w, segment)))
    return segment


def _crowd_stuff(raw: Raw) -> int:
    segment = raw.segment("stuff")
    raw.change(lambda w: _segment_of(w, segment).update(iscrowd=1))
    return segment


def _twice(raw: Raw) -> int:
    segment = raw.segment()
    raw.change(lambda w: w["annotations"][ENTRY]["segments_info"].append(dict(_segment_of(w, segment))))
    return segment


def _void(raw: Raw) -> None:
    Image.new("RGB", (80, 64)).save(raw.png)
    raw.change(lambda w: w["annotations"][ENTRY].update(segments_info=[]))


def _smaller(path: Path) -> None:
    _save(Image.open(path).resize((40, 32), Image.Resampling.NEAREST), path)


def _tiff(raw: Raw) -> None:
    buffer = io.BytesIO()
    raw.picture().save(buffer, "TIFF")
    raw.jpg.write_bytes(buffer.getvalue())


def _huge(raw: Raw) -> None:
    """A PNG of a hundred million black pixels, in a few kilobytes."""
    _save(Image.new("1", (10_000, 10_000)), raw.jpg.with_suffix(".png"))
    shutil.move(raw.jpg.with_suffix(".png"), raw.jpg)


Plant = Callable[[Raw], int | None]
IMAGE_PLANTS: dict[str, tuple[Plant, ...]] = {
    "entry-malformed": (
        lambda r: r.change(lambda w: w["images"][ENTRY].update(height="tall")),
        lambda r: r.change(lambda w: _without(w, "annotations", ENTRY, "segments_info", 0, "category_id")) or _first(r),
    ),
    "image-id-repeated": (lambda r: r.change(lambda w: w["images"].append({**w["images"][ENTRY], "file_name": "x"})),),
    "file-repeated": (lambda r: r.change(lambda w: w["annotations"][ENTRY].update(file_name="000000.png")),),
    "image-unannotated": (lambda r: r.change(lambda w: _without(w, "annotations", ENTRY)),),
    "annotation-orphan": (lambda r: r.change(lambda w: _without(w, "images", ENTRY)),),
    "annotation-repeated": (lambda r: r.change(lambda w: w["annotations"].append(w["annotations"][ENTRY])),),
    "segment-repeated": (_twice,),
    "segment-id": (lambda r: _moved(r, 256**3), lambda r: _moved(r, 0), lambda r: _moved(r, -5)),
    "segment-empty": (lambda r: _unpaint(r, area=0),),
    "category-unknown": (lambda r: r.change_segment(category_id=999),),
    "crowd-value": (lambda r: r.change_segment(iscrowd=2), lambda r: r.change_segment(iscrowd="yes")),
    "crowd-stuff": (_crowd_stuff,),
    "image-missing": (lambda r: r.jpg.unlink(), lambda r: r.jpg.rename(r.jpg.with_suffix(".JPG")) and None),
    "image-unreadable": (lambda r: _broken_png(r.jpg, r.picture()),),
    "image-truncated": (
        lambda r: _cut(r.jpg, 0.9),
        lambda r: _cut(r.jpg, 0.5),
        lambda r: _cut(r.jpg, 0.002),
    ),
    "image-not-picture": (lambda r: _write(r.jpg, HTML), lambda r: _write(r.jpg, b"")),
    "image-format": (_tiff,),
    "image-bomb": (_huge,),
    "image-16-bit": (_deep_image, lambda r: _write(r.jpg, deep_rgb(80, 64))),
    "image-cmyk": (lambda r: _save(r.picture().convert("CMYK"), r.jpg),),
    "image-rotated": (_rotated,),
    "size-mismatch": (
        lambda r: _smaller(r.jpg),
        lambda r: _smaller(r.png),
        lambda r: r.change(lambda w: w["images"][ENTRY].update(height=65)),
    ),
    "map-missing": (lambda r: r.png.unlink(),),
    "map-unreadable": (
        lambda r: _write(r.png, HTML),
        lambda r: _cut(r.png, 0.5),
        lambda r: _cut(r.png, 0.999),
        lambda r: _broken_png(r.png, Image.open(r.png)),
    ),
    "map-mode": (
        lambda r: _save(Image.open(r.png).convert("P"), r.png),
        lambda r: _save(Image.open(r.png).convert("L"), r.png),
        lambda r: _write(r.png, deep_rgb(80, 64)),
        lambda r: Image.open(r.png).save(r.png, "JPEG"),
    ),
    "map-bgr": (lambda r: Image.fromarray(np.ascontiguousarray(r.map()[..., ::-1])).save(r.png),),
    "segment-not-in-map": (_unpaint,),
    "segment-not-in-json": (_stranger,),
    "area-wrong": (lambda r: r.change_segment(area=7),),
    "bbox-wrong": (lambda r: r.change_segment(bbox=[0, 0, 7, 7]),),
    "measures-missing": (lambda r: r.change(lambda w: _without(w, "annotations", ENTRY, "segments_info", 0, "bbox")),),
    "map-void": (_void,),
    "image-twice": (lambda r: _write(r.jpg, (r.root / "train/000000.jpg").read_bytes()),),
}
"""Rule id → ways to break it at `IMAGE`; they return the segment, where one is damaged."""

COMPANIONS = {
    "image-id-repeated": set[str](),
    "file-repeated": {"file-unused", "segment-not-in-json", "segment-not-in-map", "area-wrong", "bbox-wrong"},
    "image-unannotated": {"file-unused"},
    "annotation-orphan": {"file-unused"},
    "segment-id": {"segment-not-in-json"},
    "image-missing": {"file-unused"},
}
"""Rule id → what unavoidably breaks with it."""

DATA_PLANTS: dict[str, tuple[Plant, ...]] = {
    "json-invalid": (
        lambda r: _write(r.json, HTML),
        lambda r: _cut(r.json, 0.9),
        lambda r: r.json.write_text("[]") and None,
        lambda r: r.change(lambda w: w.update(images={})),
    ),
    "no-images": (lambda r: r.change(lambda w: w.update(images=[], annotations=[])),),
    "category-malformed": (
        lambda r: r.change(lambda w: w["categories"].append({"name": "car", "isthing": 1})),
        lambda r: r.change(lambda w: w["categories"].append("car")),
    ),
    "category-repeated": (
        lambda r: r.change(lambda w: w["categories"].append({**w["categories"][0], "name": "another"})),
    ),
    "category-name-repeated": (lambda r: r.change(lambda w: w["categories"].append({**w["categories"][0], "id": 77})),),
    "isthing-missing": (lambda r: r.change(lambda w: w["categories"].append({"id": 77, "name": "car"})),),
    "category-color": (
        lambda r: r.change(lambda w: w["categories"][0].update(color=[1, 2])),
        lambda r: r.change(lambda w: w["categories"][0].update(color="light blue")),
        lambda r: r.change(lambda w: w["categories"][0].update(color=[0.5, -1, "x"])),
    ),
    "file-unused": (lambda r: _write(r.root / "train/stray.jpg", r.jpg.read_bytes()),),
}
"""Rule id → ways to break it that concern no single image."""


def _first(raw: Raw) -> int:
    return raw.document["annotations"][ENTRY]["segments_info"][0]["id"]


def _moved(raw: Raw, segment_id: int) -> int:
    raw.change_segment(id=segment_id)
    return segment_id


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: min(max(int(share * len(data)), 4), len(data) - 1)])


def _broken_png(path: Path, picture: Image.Image) -> None:
    """A PNG with one wrong bit in its pixels."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[data.index(b"IDAT") + len(data) // 3] ^= 4
    path.write_bytes(data)


def deep_rgb(width: int, height: int) -> bytes:
    """A PNG with three channels of 16 bits, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + bytes(range(6)) * width for _ in range(height)))
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
