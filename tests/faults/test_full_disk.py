"""No room, or nothing may be written: one line, exit code 2, nothing half-written; with room, the same succeeds.

The verbs here need no Ray; `test_full_disk_training` has those that do.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jobs.__main__ import main
from pipelines.store.artifacts import PreparedData
from tests.disks import Disk, small_disk
from tests.hostile.arena import Arena
from tests.hostile.materials import RUN_ID, make_materials
from tests.preparing import preprocess_here


class Verb(NamedTuple):
    """A verb that writes below the disk's folder `target`."""

    words: Callable[[Path, Path], list[str]]
    """From the materials and the target."""
    complete: Callable[[Path], bool]
    """Whether the target holds all that the verb writes."""
    function: Callable[..., Any] | None = None


def prepare(config: Any) -> PreparedData:
    return preprocess_here(config)


SPLIT = "annotations/panoptic_train"
DATA = {
    "data.shapes": None,
    "data.train": {"images": "train", "panoptic_json": f"{SPLIT}.json", "panoptic_dir": SPLIT},
    "data.val": {"images": "train", "panoptic_json": f"{SPLIT}.json", "panoptic_dir": SPLIT},
}
VERBS = {
    "predict": Verb(
        lambda m, t: ["predict", "--model", f"{m}/model", "--images", f"{m}/raw/train", "--out", f"{t}/out"],
        lambda t: len(json.loads((t / "out/panoptic.json").read_bytes())["annotations"]) == 2,
    ),
    "lint-data": Verb(
        lambda m, t: [
            *("lint-data", "--images", f"{m}/raw/train", "--panoptic-json", f"{m}/raw/{SPLIT}.json"),
            *("--panoptic-dir", f"{m}/raw/{SPLIT}", "--out", f"{t}/out"),
        ],
        lambda t: json.loads((t / "out/lint.json").read_bytes())["images"] == 2 and (t / "out/lint.html").is_file(),
    ),
    "preprocess": Verb(
        lambda m, t: ["preprocess", "shapes_smoke", "--overrides", json.dumps({**DATA, "data.root": f"{m}/raw"})],
        lambda t: len(list(t.glob("store/prepared/*/manifest.json"))) == 1,
        prepare,
    ),
    "register": Verb(
        lambda m, t: ["register", "shapes_smoke", "--run", f"{m}/used/runs/{RUN_ID}"],
        lambda t: (t / "store/mlflow.db").is_file(),
    ),
    "submit": Verb(
        lambda m, t: ["submit", "plan", "shapes_smoke", "--wait"],
        lambda t: len(list(t.glob("store/jobs/*/exit_code"))) == 1,
    ),
}


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arena = Arena(tmp_path_factory.mktemp("arena"))
    make_materials(arena)
    used = arena.fresh("store").rename(arena.materials / "used")
    for path in used.rglob("*.json"):
        path.write_text(path.read_text().replace(f"{arena.work}/store", str(used)))
    return arena.materials


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", megabytes=24) as disk:
        monkeypatch.setenv("AUNET_STORE", str(disk.path / "store"))
        yield disk


def call(verb: Verb, materials: Path, target: Path) -> tuple[int, list[str], dict[str, Any]]:
    """Exit code, the lines of errors, and the result."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(err):
        code = main(verb.words(materials, target), out, function=verb.function)
    assert "Traceback" not in err.getvalue()
    errors = [line for line in err.getvalue().splitlines() if line.startswith(("error: ", "refused: "))]
    return code, errors, json.loads(out.getvalue().splitlines()[-1]) if out.getvalue() else {}


@pytest.mark.parametrize("spare", [0, 16_384, 65_536])
@pytest.mark.parametrize("name", VERBS)
def test_a_full_disk(name: str, spare: int, materials: Path, disk: Disk) -> None:
    verb = VERBS[name]
    disk.fill(spare)
    code, errors, _ = call(verb, materials, disk.path)
    if code == 0:
        assert verb.complete(disk.path), f"exit code 0 with {sorted(disk.files())}"
    else:
        assert code == 1 and len(errors) == 1, errors
    assert not [path for path in disk.files() if path.endswith(".tmp")]
    disk.free()
    code, errors, _ = call(verb, materials, disk.path)
    assert code == 0, errors
    assert verb.complete(disk.path)


@pytest.mark.parametrize("name", VERBS)
def test_a_disk_that_cannot_be_written(name: str, materials: Path, disk: Disk) -> None:
    verb = VERBS[name]
    disk.protect()
    code, errors, _ = call(verb, materials, disk.path)
    assert code == 2 and len(errors) == 1, errors
    assert disk.files() == {}
    disk.protect(False)
    assert call(verb, materials, disk.path)[0] == 0 and verb.complete(disk.path)
