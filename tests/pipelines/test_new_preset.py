"""`new-preset`: from a folder to a preset that can be trained, without touching what is there."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aunet.data.shapes import write_scenes
from aunet.errors import InputError
from jobs.__main__ import main
from pipelines.new_preset import NewPreset, new_preset
from pipelines.preprocess import outlook
from pipelines.presets import SHIPPED
from pipelines.settings.own_presets import own_presets
from tests.commands import jobs_here
from tests.preparing import preprocess_here


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where presets are written."""
    (tmp_path / "presets").mkdir()
    return tmp_path / "presets"


def copied_if_new(source: str, target: str) -> None:
    if not Path(target).exists():
        shutil.copy(source, target)


def changed(path: Path, change: Any) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_a_preset_for_a_folder(raw: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "store"))
    result = new_preset("mine", str(raw), folder=folder)
    config = own_presets(folder)["mine"]()
    assert result.images == {"train": 5, "val": 2} and config.data.root == str(raw)
    assert result.model_name == config.register.model_name == "aunet-mine"
    assert {s.name for s in result.settings} >= {"augment.crop", "model.rpn.anchor_sizes", "train.warmup_steps"}
    assert (
        own_presets(folder)["mine"].__doc__
        == "5 images to train on and 2 to validate, 6 kinds of things and 7 of stuff."
    )
    assert sum(row["segments"] for row in result.classes) > 5
    json.dumps(result.to_json())
    assert preprocess_here(config).num_images == result.images


def test_what_was_written_is_never_overwritten(raw: Path, folder: Path) -> None:
    new_preset("mine", str(raw), folder=folder)
    before = (folder / "preset_mine.py").read_bytes()
    with pytest.raises(
        InputError, match=r"preset_mine.py exists and may have been edited; delete it, or choose another"
    ):
        new_preset("mine", str(raw), folder=folder)
    assert (folder / "preset_mine.py").read_bytes() == before


@pytest.fixture
def one_split(raw: Path) -> Path:
    """A folder without a validation split."""
    for path in (raw / "val", raw / "annotations/panoptic_val"):
        shutil.rmtree(path)
    (raw / "annotations/panoptic_val.json").unlink()
    return raw


def test_without_a_validation_split_one_is_cut(
    one_split: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "store"))
    result = new_preset("mine", str(one_split), folder=folder)
    config = own_presets(folder)["mine"]()
    train, val = config.data.train, config.data.val
    assert result.images == {"train": 3, "val": 2} == preprocess_here(config).num_images
    assert not set(train.image_ids) & set(val.image_ids) and len(train.image_ids) + len(val.image_ids) == 5
    printed = capsys.readouterr().err
    assert "has no validation split: 2 of its 5 images, chosen by their names, are one" in printed
    assert "warning" not in printed


def test_images_that_come_later_are_named_until_the_preset_is_written_again(
    one_split: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "store"))
    new_preset("mine", str(one_split), folder=folder)
    config = own_presets(folder)["mine"]()
    before = preprocess_here(config)
    write_scenes(tmp_path / "more", num_train=8, num_val=1, height=64, width=80)  # the first five are the same
    for path in ("train", "annotations/panoptic_train"):
        shutil.copytree(tmp_path / "more" / path, one_split / path, dirs_exist_ok=True, copy_function=copied_if_new)
    shutil.copy(tmp_path / "more/annotations/panoptic_train.json", one_split / "annotations")
    capsys.readouterr()
    assert preprocess_here(config) == before, "nothing that it reads has changed"
    note = (
        f"warning: images of {one_split}/annotations/panoptic_train.json that are in neither data.train.image_ids nor "
        "data.val.image_ids and are not used: 3; add their ids, or write the preset again with `new-preset`"
    )
    assert capsys.readouterr().err.splitlines() == [note]
    assert outlook(config).why.endswith(f"; {note}")
    new_preset("again", str(one_split), folder=folder)
    again = own_presets(folder)["again"]()
    assert set(again.data.val.image_ids) >= set(config.data.val.image_ids)
    assert set(again.data.train.image_ids) >= set(config.data.train.image_ids)
    capsys.readouterr()
    assert preprocess_here(again).num_images["train"] + len(again.data.val.image_ids) == 8
    assert capsys.readouterr().err == ""


def test_measures_that_the_json_lacks_are_taken_from_the_maps(raw: Path, folder: Path) -> None:
    first = new_preset("first", str(raw), folder=folder)

    def strip(document: dict[str, Any]) -> None:
        for annotation in document["annotations"]:
            for segment in annotation["segments_info"]:
                del segment["area"], segment["bbox"]

    changed(raw / "annotations/panoptic_train.json", strip)
    second = new_preset("second", str(raw), folder=folder)
    assert second.settings == first.settings and second.classes == first.classes


def test_bad_data_and_names_are_one_line_each_and_write_nothing(raw: Path, folder: Path) -> None:
    cases: list[tuple[str, str, int, str]] = [
        ("My-Streets", str(raw), 0, "not the name of a preset"),
        ("mine", str(raw / "nowhere"), 0, "no such folder"),
        ("mine", str(raw / "train"), 0, r"no annotations/panoptic_\*.json"),
        ("mine", str(raw), -1, "--gpus = -1: use 0 for CPUs"),
        ("theirs", str(raw), 0, "a shipped preset has this name"),
    ]
    for name, data, gpus, message in cases:
        with pytest.raises(InputError, match=message):
            new_preset(name, data, gpus, taken={"theirs"}, folder=folder)
    (raw / "annotations/panoptic_val.json").write_text("{")
    with pytest.raises(InputError) as caught:
        new_preset("mine", str(raw), folder=folder)
    assert caught.value.problems[-1].endswith("`lint-data` lists all that is wrong with it")
    assert list(folder.iterdir()) == []


def test_no_category_becomes_code(raw: Path, folder: Path) -> None:
    def rename(document: dict[str, Any]) -> None:
        for number, category in enumerate(document["categories"]):
            category["name"] = f'[red]{number}"""\'; import os #'

    for split in ("train", "val"):
        changed(raw / f"annotations/panoptic_{split}.json", rename)
    new_preset("mine", str(raw), folder=folder)
    assert own_presets(folder)["mine"]().name == "mine"


def test_gpus_and_weights(raw: Path, folder: Path) -> None:
    settings = {s.name: s.value for s in new_preset("big", str(raw), 2, folder=folder).settings}
    assert settings["train.use_gpu"] is True and settings["train.num_workers"] == 2
    new_preset("plain", str(raw), folder=folder, pretrained=False)
    assert own_presets(folder)["plain"]().model.backbone.name == "resnet18"


def test_the_command_line(raw: Path, folder: Path, tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = []

    def noted(**options: Any) -> NewPreset:
        calls.append(options)
        return new_preset(**options, folder=folder)

    out = io.StringIO()
    assert main(["new-preset", "mine", "--data", str(raw)], out, function=noted) == 0
    assert calls == [{"name": "mine", "data": str(raw), "gpus": 0, "taken": SHIPPED}]
    assert json.loads(out.getvalue().splitlines()[-1])["path"] == str(folder / "preset_mine.py")
    _, printed = jobs_here(tmp_path, "new-preset", "mine", rc=2)
    assert "--data is missing" in printed
