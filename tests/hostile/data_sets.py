"""Hostile data sets: JSON and pictures for `score`, `lint-data`, `predict` and `preprocess`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.hostile.arena import Arena, Case, Result
from tests.hostile.values import damaged_bytes, damaged_documents, png_of_size

SPLIT = "annotations/panoptic_train"
Change = Callable[[Path], None]
"""Damages a copy of the raw data set."""


def data_set_cases(arena: Arena) -> Iterator[Case]:
    """All cases of this file."""
    raw = arena.materials / "raw"
    document = json.loads((raw / f"{SPLIT}.json").read_bytes())
    for name, text in damaged_documents(document):
        yield _score(f"truth: {name}", text, None)
        yield _score(f"prediction: {name}", None, text)
        yield _lint(f"panoptic JSON: {name}", _write(f"{SPLIT}.json", text.encode()))
    info = {"images": document["images"][:1]}
    for name, text in damaged_documents(info):
        yield _predict(f"image info: {name}", _write("info.json", text.encode()), "--image-info", "{raw}/info.json")
    for name, text in damaged_documents(_instances(document)):
        change = _write("instances.json", text.encode())
        yield _lint(f"instances JSON: {name}", change, "--instances-json", "{raw}/instances.json")
    image, panoptic = "train/000000.jpg", f"{SPLIT}/000000.png"
    for name, data in damaged_bytes((raw / image).read_bytes(), seed=1, count=100):
        yield _predict(f"image: {name}", _write(image, data))
        yield _lint(f"image: {name}", _write(image, data))
    for name, data in damaged_bytes((raw / panoptic).read_bytes(), seed=2, count=100):
        yield _score_maps(f"map: {name}", _write(panoptic, data))
        yield _lint(f"map: {name}", _write(panoptic, data))
    for name, change in FILES.items():
        yield _predict(name, change)
        yield _lint(name, change)
        yield _score_maps(name, change)


def _write(name: str, data: bytes) -> Change:
    def change(raw: Path) -> None:
        (raw / name).write_bytes(data)

    return change


def _score(name: str, truth: str | None, prediction: str | None) -> Case:
    def words(arena: Arena) -> list[str]:
        raw = arena.fresh("raw")
        pristine = (raw / f"{SPLIT}.json").read_text()
        (raw / "true.json").write_text(pristine if truth is None else truth)
        (raw / "predicted.json").write_text(pristine if prediction is None else prediction)
        return _score_words(raw)

    return Case(kind="score", name=name, words=words, right=_is_perfect)


def _score_maps(name: str, change: Change) -> Case:
    def words(arena: Arena) -> list[str]:
        raw = arena.fresh("raw")
        for copy_name in ("true.json", "predicted.json"):
            (raw / copy_name).write_text((raw / f"{SPLIT}.json").read_text())
        change(raw)
        return _score_words(raw)

    return Case(kind="score", name=name, words=words, right=_is_perfect)


def _score_words(raw: Path) -> list[str]:
    folders = ["--gt-dir", str(raw / SPLIT), "--pred-dir", str(raw / SPLIT)]
    return ["score", "--gt-json", str(raw / "true.json"), "--pred-json", str(raw / "predicted.json"), *folders]


def _is_perfect(result: Result) -> bool:
    """Truth and prediction are the same maps: whatever the damage, what is accepted is perfect.

    Truth without an annotation of one image is truth of the other.
    """
    return result["PQ"] == 100.0 and result["images"] in (1, 2)


def _lint(name: str, change: Change, *options: str) -> Case:
    def words(arena: Arena) -> list[str]:
        raw = arena.fresh("raw")
        change(raw)
        names = [
            "--images",
            f"{raw}/train",
            "--panoptic-json",
            f"{raw}/{SPLIT}.json",
            "--panoptic-dir",
            f"{raw}/{SPLIT}",
        ]
        return ["lint-data", *names, *(option.replace("{raw}", str(raw)) for option in options)]

    return Case(kind="lint-data", name=name, words=words, right=lambda result: result["images"] == 2)


def _predict(name: str, change: Change, *options: str) -> Case:
    def words(arena: Arena) -> list[str]:
        raw = arena.fresh("raw")
        change(raw)
        model = ["--model", str(arena.materials / "model"), "--images", str(raw / "train")]
        return ["predict", *model, "--out", str(arena.work / "out"), *(o.replace("{raw}", str(raw)) for o in options)]

    def is_whole(result: Result) -> bool:
        document = json.loads(Path(result["panoptic_json"]).read_bytes())
        maps = {annotation["file_name"] for annotation in document["annotations"]}
        written = {path.name for path in Path(result["panoptic_dir"]).rglob("*.png")}
        return result["images"] == len(maps) == len(written) > 0

    return Case(kind="predict", name=name, words=words, right=is_whole)


def _instances(document: dict[str, Any]) -> dict[str, Any]:
    """An instances JSON with one box per thing of the first image."""
    things = {category["id"] for category in document["categories"] if category["isthing"]}
    annotations = []
    for annotation in document["annotations"]:
        for segment in annotation["segments_info"]:
            if segment["category_id"] in things:
                x, y, width, height = segment["bbox"]
                polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": annotation["image_id"],
                        "category_id": segment["category_id"],
                        "bbox": [x, y, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                        "segmentation": [polygon],
                    }
                )
    return {"annotations": annotations, "images": document["images"], "categories": document["categories"]}


def _fifo(raw: Path) -> None:
    for name in ("train/000000.jpg", f"{SPLIT}/000000.png"):
        (raw / name).unlink()
        os.mkfifo(raw / name)


def _loop(raw: Path) -> None:
    (raw / "train/again").symlink_to(raw / "train", target_is_directory=True)
    (raw / SPLIT / "again").symlink_to(raw / SPLIT, target_is_directory=True)


def _folder_named_as_file(raw: Path) -> None:
    for name in ("train/000000.jpg", f"{SPLIT}/000000.png"):
        (raw / name).unlink()
        (raw / name).mkdir()


def _dangling(raw: Path) -> None:
    for name in ("train/000000.jpg", f"{SPLIT}/000000.png"):
        (raw / name).unlink()
        (raw / name).symlink_to(raw / "nowhere.png")


def _not_utf8(raw: Path) -> None:
    for folder in ("train", SPLIT):
        Path(os.fsdecode(os.fsencode(raw / folder) + b"/\xff\xfe.png")).write_bytes(b"x")


def _escape_names(raw: Path) -> None:
    for folder in ("train", SPLIT):
        (raw / folder / "\x1b[2J\n.png").write_bytes(b"x")


def _bomb(raw: Path) -> None:
    for name in ("train/000000.jpg", f"{SPLIT}/000000.png"):
        (raw / name).write_bytes(png_of_size(20_000, 20_000))


def _postscript(raw: Path) -> None:
    for name in ("train/000000.jpg", f"{SPLIT}/000000.png"):
        (raw / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EOF\n")


FILES: dict[str, Change] = {
    "a FIFO": _fifo,
    "a folder that links to itself": _loop,
    "a folder named as a file": _folder_named_as_file,
    "links to nothing": _dangling,
    "names that are not UTF-8": _not_utf8,
    "names with escapes": _escape_names,
    "400 million pixels": _bomb,
    "PostScript": _postscript,
}
"""What stands where a file should be."""
