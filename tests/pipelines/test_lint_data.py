"""Clean data are clean; every planted defect is found, alone, with image and segment; nothing makes the linter fall."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aunet.data.defects import RULES
from aunet.errors import InputError
from jobs.__main__ import main
from pipelines.lint_data import lint_data
from pipelines.store import storage
from tests.commands import ROOT
from tests.html_page import Page
from tests.pipelines.lint_plants import COMPANIONS, DATA_PLANTS, IMAGE, IMAGE_PLANTS, Raw

SMALL = {"class-empty", "class-few", "class-all-crowd"}
"""What five scenes cannot avoid."""


def reported(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [d for d in result["defects"] if d["rule"] not in SMALL]


def cases(plants: dict[str, tuple[Callable[[Raw], int | None], ...]]) -> list[Any]:
    return [pytest.param(rule, plant, id=f"{rule}-{n}") for rule, row in plants.items() for n, plant in enumerate(row)]


def test_clean_data_have_no_error(pristine: Path) -> None:
    raw = Raw(pristine)
    result = lint_data(**raw.options, against_images=str(pristine / "val")).to_json()
    assert (result["images"], result["errors"], result["quarantined"], result["exit_code"]) == (5, 0, 0, 0)
    assert reported(result) == []
    infos = [s for a in raw.document["annotations"] for s in a["segments_info"]]
    for row in result["classes"]:
        own = [s for s in infos if s["category_id"] == row["id"]]
        assert row["segments"] == len(own) and row["crowds"] == sum(s["iscrowd"] for s in own)
        assert row["pixels"] == sum(s["area"] for s in own)


@pytest.mark.parametrize(("rule", "plant"), cases(IMAGE_PLANTS))
def test_a_planted_defect_of_an_image_is_found(raw: Path, rule: str, plant: Callable[[Raw], int | None]) -> None:
    segment = plant(Raw(raw))
    result = lint_data(**Raw(raw).options).to_json()
    (own,) = [d for d in reported(result) if d["rule"] == rule]
    assert (own["image"], own["segment"]) == (IMAGE, segment)
    assert {d["rule"] for d in reported(result)} <= {rule} | COMPANIONS.get(rule, set())
    assert own["message"] and own["cure"] == RULES[rule].cure
    costs = RULES[rule].severity == "error"
    assert result["exit_code"] == (2 if costs else 0)
    left = result["images"] - result["quarantined"]
    assert left == {"annotation-orphan": 4, "image-id-repeated": 4}.get(rule, 4 if costs else 5)


@pytest.mark.parametrize(("rule", "plant"), cases(DATA_PLANTS))
def test_a_planted_defect_of_the_data_is_found(
    raw: Path, capsys: pytest.CaptureFixture[str], rule: str, plant: Callable[[Raw], int | None]
) -> None:
    plant(Raw(raw))
    result = lint_data(**Raw(raw).options).to_json()
    (own,) = [d for d in reported(result) if d["rule"] == rule]
    assert own["image"] is None and own["severity"] == RULES[rule].severity
    assert {d["rule"] for d in reported(result)} <= {rule, "file-unused"}
    assert result["exit_code"] == (2 if own["severity"] == "error" else 0)
    assert ("concern the whole split" in capsys.readouterr().err) == (own["severity"] == "error")


def test_rare_classes(raw: Path) -> None:
    def plant(document: dict[str, Any]) -> None:
        document["categories"].append({"id": 50, "name": "unicorn", "isthing": 1})
        things = {c["id"] for c in document["categories"] if c["isthing"]}
        infos = [s for a in document["annotations"] for s in a["segments_info"]]
        kind = next(s["category_id"] for s in infos if s["category_id"] in things)
        for s in infos:
            s["iscrowd"] = int(s["category_id"] == kind)
        document["categories"][0]["name"] = f"plenty of {kind}"

    Raw(raw).change(plant)
    result = lint_data(**Raw(raw).options).to_json()
    rules = {rule: [d["message"] for d in result["defects"] if d["rule"] == rule] for rule in SMALL}
    assert any("category 50 (unicorn, thing) has no segments" in m for m in rules["class-empty"])
    assert len(rules["class-all-crowd"]) == 1 and "are crowds" in rules["class-all-crowd"][0]
    assert result["errors"] == 0


def test_leakage(raw: Path) -> None:
    shutil.copy(raw / "val/000000.jpg", raw / "train/000001.jpg")
    picture = Image.open(raw / "val/000001.jpg")
    picture.save(raw / "train/000003.jpg", quality=60)
    for more in ({}, {"against_panoptic_json": str(raw / "annotations/panoptic_val.json")}):
        result = lint_data(**Raw(raw).options, against_images=str(raw / "val"), **more).to_json()
        assert [(d["rule"], d["image"]) for d in reported(result)] == [("leak-exact", 2), ("leak-near", 4)]
        assert "val/000000.jpg" in reported(result)[0]["message"] and "val/000001.jpg" in reported(result)[1]["message"]
        assert (result["quarantined"], result["exit_code"]) == (1, 2)


def test_categories_of_the_other_split(raw: Path) -> None:
    other = raw / "annotations/panoptic_val.json"
    document = json.loads(other.read_bytes())
    document["categories"][2]["isthing"] = 0
    other.write_text(json.dumps(document))
    result = lint_data(**Raw(raw).options, against_images=str(raw / "val"), against_panoptic_json=str(other)).to_json()
    assert [d["rule"] for d in reported(result)] == ["category-differs"]


@pytest.mark.parametrize(("text", "words"), [("<html>", "not JSON"), ('{"images": []}', "no list 'annotations'")])
def test_instances_that_cannot_be_read_are_one_defect(raw: Path, text: str, words: str) -> None:
    path = raw / "instances.json"
    path.write_text(text)
    (defect,) = reported(lint_data(**Raw(raw).options, instances_json=str(path)).to_json())
    assert defect["rule"] == "json-invalid" and f"instances.json: {words}" in defect["message"]


def test_instances_cost_their_image(raw: Path) -> None:
    path = raw / "instances.json"
    entry = {
        "id": 11,
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [500, 2, 6, 6],
        "segmentation": [[2, 2, 8, 2, 8, 8, 2, 8]],
    }
    path.write_text(json.dumps({"annotations": [entry]}))
    result = lint_data(**Raw(raw).options, instances_json=str(path)).to_json()
    assert [(d["rule"], d["image"], d["segment"]) for d in reported(result)] == [
        ("instance-none", 2, None),
        ("instance-none", 4, None),
        ("instance-none", 5, None),
        ("instance-box", 1, 11),
        ("instance-elsewhere", 1, None),
    ]
    assert result["quarantined"] == 4


def test_several_defects_at_once_and_the_page(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def plant(document: dict[str, Any]) -> None:
        for annotation in document["annotations"]:
            annotation["segments_info"][0]["bbox"] = [1, 1, 5, 5]
        document["categories"][0]["name"] = "<script>alert('x')</script>[red]"
        document["annotations"][1]["file_name"] = "<b>.png"

    Raw(raw).change(plant)
    (raw / "train/000000.jpg").write_bytes(b"<html>")
    shutil.copy(raw / "train/000003.jpg", raw / "val/000000.jpg")
    out = tmp_path / "out"
    result = lint_data(**Raw(raw).options, out=str(out), against_images=str(raw / "val")).to_json()
    written = json.loads((out / "lint.json").read_bytes())
    assert written["defects"] == result["defects"] and result["html_uri"] == str(out / "lint.html")
    assert result["rules"]["bbox-wrong"] == 4 and result["rules"]["map-missing"] == 1
    text = (out / "lint.html").read_text()
    page = Page(text)
    assert "<script" not in text and "<b>.png" not in text
    shown = page.all("img")
    assert {str(i["src"])[:23] for i in shown} == {"data:image/jpeg;base64,"}
    assert sum("bbox" in str(i["alt"]) for i in shown) == 4
    assert sum("same bytes" in str(i["alt"]) for i in shown) == 1
    printed = capsys.readouterr().err
    assert (
        "bbox-wrong: measure the map again: [x, y, w, h]" in printed
        and "… and 1 more" in printed
        and "5 images: 7 errors" in printed
    )


def test_the_command(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [w for k, v in Raw(raw).options.items() for w in (f"--{k.replace('_', '-')}", v)]
    out = io.StringIO()
    assert main(["lint-data", *words], out) == 0
    assert json.loads(out.getvalue())["images"] == 5
    Raw(raw).jpg.unlink()
    out = io.StringIO()
    assert main(["lint-data", *words], out) == 2
    assert json.loads(out.getvalue())["quarantined"] == 1
    assert main(["lint_data", *words], out) == 2
    assert "did you mean lint-data?" in capsys.readouterr().err
    assert main(["lint-data", *words[:4]], out) == 2
    assert "lint-data: --panoptic-dir is missing" in capsys.readouterr().err


def test_bad_options_are_reported_together(raw: Path) -> None:
    with pytest.raises(InputError) as caught:
        lint_data("no_images", "no.json", str(raw / "annotations/panoptic_train"), instances_json=str(raw / "i.json"))
    first, second, third = caught.value.problems
    assert first.startswith("--images no_images: no such folder") and second.startswith("--panoptic-json no.json: no")
    assert third.startswith("--instances-json") and "no such file" in third
    with pytest.raises(InputError, match="give --against-images too"):
        lint_data(**Raw(raw).options, against_panoptic_json="x.json")
    with pytest.raises(InputError, match="--against nowhere: no such folder"):
        lint_data(**Raw(raw).options, against_images="nowhere")


def test_on_object_storage(raw: Path, s3: str) -> None:
    Raw(raw).png.unlink()
    segment = Raw(raw).change_segment(category_id=999)
    storage.upload_folder(raw, f"{s3}/raw")
    options = {k: v.replace(str(raw), f"{s3}/raw") for k, v in Raw(raw).options.items()}
    result = lint_data(**options, against_images=f"{s3}/raw/val", out=f"{s3}/out").to_json()
    here = [(d["rule"], d["image"], d["segment"]) for d in reported(result)]
    assert here == [("category-unknown", IMAGE, segment), ("map-missing", IMAGE, None)]
    assert storage.exists(result["html_uri"]) and storage.exists(f"{s3}/out/lint.json")


def test_random_damage_never_makes_it_fall(pristine: Path, tmp_path: Path) -> None:
    """Bytes changed, cut and swapped in any file; values of any kind anywhere in the JSON."""
    rng = random.Random(5)
    junk = [None, -1, 0, 1e308, float("nan"), 2**70, "", "x", "\ud800", "../../x", [], {}, [[1]], True, {"a": [1]}]

    def slots(value: Any) -> list[tuple[Any, Any]]:
        """Every container in the JSON with each of its keys."""
        keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        return [slot for key in keys for slot in ((value, key), *slots(value[key]))]

    damaged = 0
    for round_ in range(25):
        folder = tmp_path / "damaged"
        shutil.copytree(pristine, folder)
        raw = Raw(folder)
        document = raw.document
        for container, key in rng.sample(slots(document), 1 + round_ % 6):
            container[key] = rng.choice(junk)
        raw.json.write_text(json.dumps(document))
        for path in rng.sample(sorted(p for p in folder.rglob("*") if p.is_file() and "train" in str(p)), 3):
            data = bytearray(path.read_bytes())
            if path != raw.json or round_ % 8 == 0:
                for _ in range(rng.choice([1, 3, 40])):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                path.write_bytes(data[: rng.choice([len(data), len(data), rng.randrange(len(data))])])
        result = lint_data(**raw.options, out=str(tmp_path / "out")).to_json()
        json.dumps(result)
        assert 0 <= result["quarantined"] <= result["images"]
        damaged += bool(reported(result))
        shutil.rmtree(folder)
    assert damaged >= 24, "a changed byte of a JPEG's colours may pass, nothing else may"


SAMPLES = [
    ("coco_panoptic_mini", "train2017", "val2017", 13, {"class-empty": 87, "class-few": 44}),
    ("coco_panoptic_mini", "val2017", "train2017", 3, {"class-empty": 121, "class-few": 10}),
    ("camvid_panoptic", "val", "train", 101, {}),
]


@pytest.mark.parametrize(("folder", "own", "other", "images", "rules"), SAMPLES)
def test_real_data_are_clean(
    sample_data: Path, folder: str, own: str, other: str, images: int, rules: dict[str, int]
) -> None:
    root, annotations = sample_data / folder, sample_data / folder / "annotations"
    result = lint_data(
        str(root / own),
        str(annotations / f"panoptic_{own}.json"),
        str(annotations / f"panoptic_{own}"),
        against_images=str(root / other),
        against_panoptic_json=str(annotations / f"panoptic_{other}.json"),
    ).to_json()
    assert (result["images"], result["errors"], result["rules"]) == (images, 0, rules)


def test_every_rule_is_planted_and_documented() -> None:
    """The table of the documentation is the table of the program."""
    elsewhere = {"class-empty", "class-few", "class-all-crowd", "category-differs", "leak-exact", "leak-near"}
    instances = {rule for rule in RULES if rule.startswith("instance-")}
    assert set(IMAGE_PLANTS) | set(DATA_PLANTS) | elsewhere | instances == set(RULES)
    lines = (ROOT / "docs/your_data.md").read_text().splitlines()
    rows = [m.groups() for line in lines if (m := re.match(r"\| `([a-z0-9-]+)` \| (error|warning) \| (.*) \|$", line))]
    assert rows == [(name, rule.severity, rule.what) for name, rule in RULES.items()]
