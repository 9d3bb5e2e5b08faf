"""An import that is killed, repeated, or meets what another one left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines.data.importing.parts import IMAGES_PER_PART
from pipelines.import_data import import_data
from pipelines.store import storage
from tests.commands import ROOT, command, environment
from tests.importers.scenes import Original, generated
from tests.importers.writers import write_labelme
from tests.preparing import contents

NUM_IMAGES = 200


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Original, Path]:
    """Six scenes, many times: four parts."""
    root = tmp_path_factory.mktemp("source")
    original = generated(root / "original")
    write_labelme(original, root / "labelme", masks=True)
    for path in sorted((root / "labelme").rglob("*.json")):
        for copy in range(NUM_IMAGES // len(original.samples) + 1):
            name = f"{path.stem}_{copy}"
            os.link(path.with_suffix(".jpg"), path.with_name(f"{name}.jpg"))
            document = json.loads(path.read_text())
            path.with_name(f"{name}.json").write_text(json.dumps({**document, "imagePath": f"{name}.jpg"}))
    return original, root / "labelme"


def words(source: tuple[Original, Path], out: Path) -> list[str]:
    data = ["--data", str(source[1]), "--things", source[0].things, "--val-share", "0.3"]
    return command("import-data", "labelme", "--out", str(out), *data, "--workers", "2")


def imported(source: tuple[Original, Path], out: Path, **options: Any) -> Any:
    return import_data("labelme", str(out), data=str(source[1]), things=[source[0].things], workers=1, **options)


@pytest.mark.faults
def test_a_killed_import_goes_on_to_the_same_bytes(source: tuple[Original, Path], tmp_path: Path) -> None:
    imported(source, tmp_path / "calm", val_share=0.3)
    kills = 0
    for _ in range(3):
        before = len(list((tmp_path / "killed").rglob("*.png")))
        process = subprocess.Popen(
            words(source, tmp_path / "killed"),
            cwd=ROOT,
            env=environment(tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            if len(list((tmp_path / "killed").rglob("*.png"))) > before + 20:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        process.wait()
    assert kills
    subprocess.run(words(source, tmp_path / "killed"), cwd=ROOT, env=environment(tmp_path), check=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "calm")


def test_finished_parts_are_not_done_again(source: tuple[Original, Path], tmp_path: Path) -> None:
    broken = source[1] / "zz.json"
    broken.write_text("{")
    try:
        with pytest.raises(InputError, match=r"zz\.json.*not JSON(.|\n)*1 problem, nothing is complete yet"):
            imported(source, tmp_path / "out")
    finally:
        broken.unlink()
    kept = tmp_path / "out/annotations/.import_train"
    assert len(list(kept.iterdir())) >= 3 and not (tmp_path / "out/annotations/panoptic_train.json").exists()
    first = {p: p.stat().st_mtime_ns for p in (tmp_path / "out/annotations/panoptic_train").rglob("*.png")}
    result = imported(source, tmp_path / "out")
    again = [p for p, t in first.items() if p.stat().st_mtime_ns != t]
    assert result.images > NUM_IMAGES and len(again) < IMAGES_PER_PART and not kept.exists()


def test_a_changed_annotation_is_drawn_again(source: tuple[Original, Path], tmp_path: Path) -> None:
    broken = source[1] / "zz.json"
    broken.write_text("{")
    with pytest.raises(InputError):
        imported(source, tmp_path / "out")
    broken.unlink()
    path = min(source[1].rglob("*.json"))
    content = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(content), "shapes": json.loads(content)["shapes"][:1]}))
        fewer = imported(source, tmp_path / "out").segments
    finally:
        path.write_text(content)
    assert fewer < imported(source, tmp_path / "whole").segments


def test_the_same_again_does_nothing_and_something_else_is_refused(
    source: tuple[Original, Path], tmp_path: Path
) -> None:
    first = imported(source, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert imported(source, tmp_path / "out") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    with pytest.raises(InputError, match=r"panoptic_train\.json: exists, of another source or other options; delete"):
        imported(source, tmp_path / "out", on_top="smaller")
    with pytest.raises(InputError, match="exists, and import-data did not write it"):
        import_data("labelme", str(source[0].json_path.parent.parent), data=str(source[1]), things=["all"])


def test_splits_are_chosen_by_name_and_overlap_in_nothing(source: tuple[Original, Path], tmp_path: Path) -> None:
    result = imported(source, tmp_path / "out", val_share=0.3)
    names = {}
    for split in ("train", "val"):
        document = json.loads((tmp_path / "out/annotations" / f"panoptic_{split}.json").read_text())
        names[split] = {entry["file_name"] for entry in document["images"]}
        assert len(names[split]) == result.splits[split]
        assert {
            str(p.relative_to(tmp_path / "out" / split)) for p in (tmp_path / "out" / split).rglob("*.jpg")
        } == names[split]
    assert not names["train"] & names["val"] and 0.2 < result.splits["val"] / result.images < 0.4


def test_from_a_bucket_to_a_bucket(source: tuple[Original, Path], s3: str, tmp_path: Path) -> None:
    names = sorted(source[1].rglob("*.json"))[:3]
    for path in (*names, *(name.with_suffix(".jpg") for name in names)):
        storage.write_bytes(f"{s3}/in/{path.name}", path.read_bytes())
    result = import_data("labelme", f"{s3}/out", data=f"{s3}/in", things=["all"], workers=1)
    assert result.images == 3 and result.exit_code == 0
    files = {file.path for file in storage.list_files(f"{s3}/out")}
    assert len(files) == 7 and "annotations/panoptic_train.json" in files
