"""Hostile model folders, for `predict` and `verify`."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aunet.model_files import CONFIG, HASHES, PROGRAM, WEIGHTS
from tests.hostile.arena import Arena, Case, Result
from tests.hostile.values import damaged_bytes, damaged_documents

Change = Callable[[Arena, Path], None]
"""Damages a copy of the model folder."""


class Payload:
    """Unpickled, it writes into a file that no command was told of."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.victim, "ran"))


def model_cases(arena: Arena) -> Iterator[Case]:
    """All cases of this file."""
    model = arena.materials / "model"
    for name, text in damaged_documents(json.loads((model / CONFIG).read_bytes())):
        yield _predict(f"config: {name}", _replace(CONFIG, text.encode()))
    for name, text in damaged_documents(json.loads((model / HASHES).read_bytes())):
        yield _predict(f"hashes: {name}", _write(HASHES, text.encode()))
    for name, data in damaged_bytes((model / WEIGHTS).read_bytes(), seed=3, count=40):
        yield _predict(f"weights, hashed again: {name}", _replace(WEIGHTS, data), anything=True)
        yield _predict(f"weights: {name}", _write(WEIGHTS, data))
    for name, change in PROGRAMS.items():
        yield _predict(name, change)
        yield _verify(name, change)


def rehash(folder: Path) -> None:
    """Write the list of hashes as somebody would who can write into the folder."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != HASHES)
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / HASHES).write_text(json.dumps(hashes))


def _write(name: str, data: bytes) -> Change:
    def change(arena: Arena, folder: Path) -> None:
        (folder / name).write_bytes(data)

    return change


def _replace(name: str, data: bytes) -> Change:
    def change(arena: Arena, folder: Path) -> None:
        (folder / name).write_bytes(data)
        rehash(folder)

    return change


def _payload(arena: Arena) -> bytes:
    return pickle.dumps(Payload(arena.outside / "victim/a.txt"))


def _beside(arena: Arena, folder: Path) -> None:
    (folder / PROGRAM).write_bytes(_payload(arena))


def _beside_and_listed(arena: Arena, folder: Path) -> None:
    _beside(arena, folder)
    rehash(folder)


def _instead(arena: Arena, folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    _beside_and_listed(arena, folder)


def _as_weights(arena: Arena, folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(_payload(arena))
    rehash(folder)


def _no_list(arena: Arena, folder: Path) -> None:
    (folder / HASHES).write_text("{}")


def _linked(arena: Arena, folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(arena.outside / "outside.png")
    rehash(folder)


def _folder(arena: Arena, folder: Path) -> None:
    (folder / CONFIG).unlink()
    (folder / CONFIG).mkdir()


PROGRAMS: dict[str, Change] = {
    "a pickle as model.pt2 beside the weights": _beside,
    "a pickle as model.pt2 beside the weights, listed": _beside_and_listed,
    "a pickle as model.pt2 instead of the weights": _instead,
    "a pickle as model.safetensors": _as_weights,
    "an empty list of hashes": _no_list,
    "weights that are a link outside": _linked,
    "a folder as config.json": _folder,
}
"""What stands in a model folder."""
CONSISTENT = (
    "a pickle as model.pt2 instead of the weights",
    "a pickle as model.safetensors",
    "weights that are a link outside",
)
"""Where the list of hashes is right: `verify` reads hashes, and opens nothing."""


def _predict(name: str, change: Change, *, anything: bool = False) -> Case:
    """Args:
    anything: other weights are other maps: whatever stands there whole is right.
    """

    def words(arena: Arena) -> list[str]:
        model, raw = arena.fresh("model"), arena.fresh("raw")
        change(arena, model)
        return ["predict", "--model", str(model), "--images", str(raw / "train"), "--out", str(arena.work / "out")]

    def is_same(result: Result) -> bool:
        return anything or _maps(Path(result["panoptic_dir"])) == REFERENCE

    return Case(kind="model folder", name=name, words=words, right=is_same)


def _verify(name: str, change: Change) -> Case:
    def words(arena: Arena) -> list[str]:
        model = arena.fresh("model")
        change(arena, model)
        return ["verify", str(model)]

    return Case(kind="model folder", name=f"verify: {name}", words=words, right=lambda _: name in CONSISTENT)


REFERENCE: dict[str, str] = {}
"""Hashes of the maps that the pristine model makes."""


def _maps(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.png")}


def remember_maps(arena: Arena) -> None:
    """Label the images with the pristine model, once."""
    case = _predict("pristine", lambda arena, folder: None, anything=True)
    ending = arena.attack(case)
    assert ending.verdict == "right", ending
    REFERENCE.update(_maps(arena.work / "out/panoptic"))
