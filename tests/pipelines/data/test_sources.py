"""A raw folder is read completely, or every defect is named before a picture is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines.data.sources import _settings, left_aside, read_source
from pipelines.settings.run_config import DataConfig, SplitConfig

SPLITS = {
    name: SplitConfig(
        images=name, panoptic_json=f"annotations/panoptic_{name}.json", panoptic_dir=f"annotations/panoptic_{name}"
    )
    for name in ("train", "val")
}


def data_of(root: Path, **options: Any) -> DataConfig:
    return DataConfig(root=str(root), **{**SPLITS, **options})


def change_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def refused(data: DataConfig) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        read_source(data, data.root)
    return caught.value.problems


def test_both_splits_are_read_in_the_order_of_the_json(raw: Path) -> None:
    source = read_source(data_of(raw), str(raw))
    assert [(s.name, [i.record.image_id for i in s.images]) for s in source.splits] == [
        ("train", [1, 2, 3, 4, 5]),
        ("val", [1, 2]),
    ]
    assert all(i.instances is None for s in source.splits for i in s.images)


def test_the_fingerprint_follows_what_is_used(raw: Path) -> None:
    def fingerprint(**options: Any) -> str:
        return read_source(data_of(raw, **options), str(raw)).fingerprint

    first = fingerprint()
    assert fingerprint(rows_per_shard=2) != first
    assert fingerprint(train=replace(SPLITS["train"], image_ids=(1, 2))) != first
    (raw / "train" / "unused.jpg").touch()
    assert fingerprint() == first
    os.utime(raw / "train" / "000000.jpg", (1, 1))
    assert fingerprint() != first


def test_the_budget_changes_no_name(raw: Path) -> None:
    assert _settings(data_of(raw, max_bad_fraction=0.5)) == _settings(data_of(raw))
    cityscapes = SplitConfig(images="a", instance_ids="b")
    names = {_settings(DataConfig(root="x", train=replace(cityscapes, cities=c))) for c in ((), ("ulm",), ("bonn",))}
    assert len(names) == 3


def test_images_without_annotations(raw: Path) -> None:
    change_json(raw / "annotations/panoptic_train.json", lambda document: document.pop("annotations"))
    (problem,) = refused(data_of(raw))
    assert (
        "panoptic_train.json: no list 'annotations': images without annotations can be labelled with `predict`"
        in problem
    )


@pytest.mark.parametrize(
    ("name", "rule", "image"),
    [("train/000002.jpg", "image-missing", 3), ("annotations/panoptic_val/000001.png", "map-missing", 2)],
)
def test_a_missing_file(raw: Path, name: str, rule: str, image: int) -> None:
    (raw / name).unlink()
    problem, summary = refused(data_of(raw))
    split, total = ("train", 5) if name.startswith("train") else ("val", 2)
    folder, file = str(raw / name).rsplit("/", 1)
    assert problem.startswith(
        f"data.{split}, image {image}: {file}: missing in {folder} [{rule}]; add the file or drop"
    )
    assert (
        f"data.{split}: 1 of {total} images cannot be used" in summary and "max_bad_fraction = 0.0 allows 0" in summary
    )


def test_an_unknown_category(raw: Path) -> None:
    change_json(
        raw / "annotations/panoptic_train.json",
        lambda document: document["annotations"][0]["segments_info"][0].update(category_id=99),
    )
    problem, _ = refused(data_of(raw))
    assert "image 1: segment" in problem and "of category 99, which is not in categories [category-unknown]" in problem


def test_an_empty_data_set(raw: Path) -> None:
    change_json(raw / "annotations/panoptic_val.json", lambda document: document.update(images=[], annotations=[]))
    (problem,) = refused(data_of(raw))
    assert "panoptic_val.json: no images [no-images]; name at least one image" in problem


def test_what_is_wrong_with_single_images_is_left_out_within_the_budget(raw: Path) -> None:
    (raw / "train/000002.jpg").unlink()
    change_json(raw / "annotations/panoptic_train.json", lambda document: document["annotations"].pop(0))
    source = read_source(data_of(raw, max_bad_fraction=0.4), str(raw))
    split = source.splits[0]
    assert [i.record.image_id for i in split.images] == [2, 4, 5]
    expected = [(1, "image-unannotated"), (3, "image-missing")]
    assert split.num_entries == 5 and [(d.image, d.rule) for d in split.defects] == expected
    *problems, summary = refused(data_of(raw, max_bad_fraction=0.39))
    assert len(problems) == 2 and "2 of 5 images cannot be used (40.00%)" in summary


def test_nothing_left_is_refused_whatever_the_budget(raw: Path) -> None:
    for path in (raw / "val").iterdir():
        path.unlink()
    *_, summary = refused(data_of(raw, max_bad_fraction=0.99))
    assert "2 of 2 images cannot be used" in summary


def test_a_missing_and_a_damaged_json(raw: Path) -> None:
    (raw / "annotations/panoptic_train.json").unlink()
    (raw / "annotations/panoptic_val.json").write_text("<html>")
    first, second = refused(data_of(raw))
    assert "panoptic_train.json: no such file; put it there" in first
    assert "panoptic_val.json: not JSON" in second


def test_image_ids_that_are_not_in_the_data(raw: Path) -> None:
    (problem,) = refused(data_of(raw, train=replace(SPLITS["train"], image_ids=(1, 55))))
    assert "data.train.image_ids: 55 is not in" in problem and "use ids of its images, such as 1" in problem


@pytest.mark.parametrize(
    ("train", "val", "number"),
    [((1, 2), (4,), 2), ((1, 2, 3), (4, 5), 0), ((1, 2), (1, 2), 0), ((1, 2), (), 0), ((1, 2), (2, 3), 2)],
)
def test_images_that_neither_of_two_splits_of_one_json_has(
    raw: Path, train: tuple[int, ...], val: tuple[int, ...], number: int
) -> None:
    data = data_of(raw, train=replace(SPLITS["train"], image_ids=train), val=replace(SPLITS["train"], image_ids=val))
    note = left_aside(read_source(data, str(raw)))
    assert (f"are not used: {number}; add their ids" in note) == bool(note) == bool(number)


def test_images_that_splits_of_two_files_leave_out_are_meant(raw: Path) -> None:
    chosen = {"train": (1, 2), "val": (1,)}
    data = data_of(raw, **{name: replace(SPLITS[name], image_ids=ids) for name, ids in chosen.items()})
    assert left_aside(read_source(data, str(raw))) == ""


def test_other_categories_in_val(raw: Path) -> None:
    change_json(raw / "annotations/panoptic_val.json", lambda document: document["categories"][0].update(name="sphere"))
    (problem,) = refused(data_of(raw))
    assert "its categories differ from those of train" in problem and "'ball'" in problem


def test_a_long_list_is_cut_and_counted(raw: Path) -> None:
    def many(document: dict[str, Any]) -> None:
        document["images"] += [{"id": n, "file_name": f"{n}.jpg", "height": 1, "width": 1} for n in range(100, 150)]

    change_json(raw / "annotations/panoptic_train.json", many)
    problems = refused(data_of(raw))
    assert len(problems) == 22 and problems[-2] == "… and 80 more problems like these"
    assert "50 of 55 images cannot be used" in problems[-1]


def test_instances_of_other_images_are_refused(raw: Path) -> None:
    """Training would see no boxes, without a word."""
    panoptic = json.loads((raw / "annotations/panoptic_train.json").read_bytes())
    things = {c["id"] for c in panoptic["categories"] if c["isthing"]}
    instances = [
        {
            "image_id": annotation["image_id"] + 100,
            "category_id": segment["category_id"],
            "iscrowd": 0,
            "bbox": segment["bbox"],
            "segmentation": [],
        }
        for annotation in panoptic["annotations"]
        for segment in annotation["segments_info"]
        if segment["category_id"] in things
    ]
    (raw / "instances.json").write_text(json.dumps({"annotations": instances}))
    problems = refused(data_of(raw, train=replace(SPLITS["train"], instances_json="instances.json")))
    assert "data.train, image 1: instances.json: image 1 (000000.jpg) has" in problems[0]
    assert "[instance-none]; export both JSON files from the same images, with the same image ids" in problems[0]


def test_twins_in_normalisation_are_told_apart(raw: Path) -> None:
    for split, name in (("train", "b\u00e9b\u00e9"), ("val", "be\u0301be\u0301")):
        change_json(raw / f"annotations/panoptic_{split}.json", lambda w, n=name: w["categories"][0].update(name=n))
    (problem,) = refused(data_of(raw))
    assert "names differ only in Unicode normalisation (NFC, NFD); give both splits one list" in problem
