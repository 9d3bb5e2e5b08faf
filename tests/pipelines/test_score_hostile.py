"""Documents and folders that would change a score without a word, read what is not theirs, or hang."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.errors import InputError
from tests.pipelines.score_folders import CATEGORIES, MAPS, Folder, annotation, score_of


@pytest.fixture
def true(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "true", MAPS)


@pytest.fixture
def predicted(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "predicted", MAPS)


@pytest.mark.parametrize("value", ["0", "1"])
def test_flags_as_text_are_refused_not_scored(true: Folder, predicted: Folder, value: str) -> None:
    """Read as true, every thing would be a crowd, and a perfect prediction worth nothing."""
    for entry in true.content["annotations"]:
        for segment in entry["segments_info"]:
            segment["iscrowd"] = value
    true.save()
    with pytest.raises(InputError, match=f"segment 11 has iscrowd '{value}'; set it to 0 or 1"):
        score_of(true, predicted)
    fresh = Folder(true.json.parent / "fresh", MAPS)
    fresh.content["categories"] = [{**entry, "isthing": value} for entry in CATEGORIES]
    fresh.save()
    with pytest.raises(InputError, match=r"isthing is '[01]' .*; set isthing to 1 \(thing\) or 0 \(stuff\)"):
        score_of(fresh, predicted)


def test_true_and_false_are_flags(true: Folder, predicted: Folder) -> None:
    for folder in (true, predicted):
        folder.content["categories"] = [{**entry, "isthing": bool(entry["isthing"])} for entry in CATEGORIES]
        for entry in folder.content["annotations"]:
            for segment in entry["segments_info"]:
                segment["iscrowd"] = False
        folder.save()
    result = score_of(true, predicted)
    assert (result["PQ"], result["PQ_th"], result["PQ_st"]) == (100, 100, 100)


@pytest.mark.parametrize("image_id", ["1", "1\n", " 1 ", 1.0])
def test_an_id_is_read_in_one_way(true: Folder, predicted: Folder, image_id: Any) -> None:
    annotation(predicted)["image_id"] = image_id
    predicted.save()
    assert score_of(true, predicted)["PQ"] == 100


@pytest.mark.parametrize(
    "outside", ["../secret.png", "{root}/secret.png", "1/../../secret.png", "a\x00.png", "..", "/"]
)
def test_a_file_outside_of_the_folder_is_not_read(true: Folder, predicted: Folder, outside: str) -> None:
    (true.json.parent / "secret.png").write_bytes(b"s3cret")
    annotation(true)["file_name"] = outside.replace("{root}", str(true.json.parent))
    true.save()
    with pytest.raises(InputError, match=r"panoptic.json: annotations\[0\]: file_name missing or wrong") as caught:
        score_of(true, predicted)
    assert "s3cret" not in str(caught.value) and all(p.isprintable() for p in caught.value.problems)


def test_a_pipe_and_a_folder_that_links_to_itself_do_not_hang(true: Folder, predicted: Folder) -> None:
    (predicted.dir / "again").symlink_to(predicted.dir)
    assert score_of(true, predicted)["PQ"] == 100
    (predicted.dir / "1.png").unlink()
    os.mkfifo(predicted.dir / "1.png")
    with pytest.raises(InputError, match=r"prediction: 1.png: missing in"):
        score_of(true, predicted)
    predicted.json.unlink()
    os.mkfifo(predicted.json)
    with pytest.raises(InputError, match=r"--pred-json .*: a pipe, socket or device"):
        score_of(true, predicted)


def test_a_map_written_as_bgr_is_called_that(true: Folder, predicted: Folder) -> None:
    """Painting its ids void, as an unlisted id usually asks for, would ruin the map."""
    path = predicted.dir / "1.png"
    Image.fromarray(np.ascontiguousarray(np.array(Image.open(path))[..., ::-1])).save(path)
    with pytest.raises(InputError) as caught:
        score_of(true, predicted)
    (problem,) = caught.value.problems
    assert "prediction: the map is written as BGR" in problem and "swap channels 0 and 2 of the PNG" in problem


@pytest.mark.parametrize(
    ("written", "meant", "reason"),
    [
        ("1\\a.png", "1/a.png", "folders are separated by /"),
        ("a%20b.png", "a b.png", "% codes are for web pages"),
        ("A.PNG", "a.png", "capitals matter"),
        ("b\u00e9b\u00e9.png", "be\u0301be\u0301.png", r"they differ only in Unicode normalisation \(NFC, NFD\)"),
    ],
)
def test_the_file_that_is_meant_is_named(
    true: Folder, predicted: Folder, written: str, meant: str, reason: str
) -> None:
    (predicted.dir / meant).parent.mkdir(exist_ok=True)
    (predicted.dir / "1.png").rename(predicted.dir / meant)
    annotation(predicted)["file_name"] = written
    predicted.save()
    with pytest.raises(InputError, match=f"; there is {meant}, and {reason}"):
        score_of(true, predicted)


def test_names_of_categories_are_text_for_the_table(
    true: Folder, predicted: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (true, predicted):
        folder.content["categories"] = [
            {**entry, "name": name} for entry, name in zip(CATEGORIES, ("[/red]", "[bold]x", "a"), strict=True)
        ]
        folder.save()
    assert score_of(true, predicted)["PQ"] == 100
    printed = capsys.readouterr().err
    assert "[/red]" in printed and "[bold]x" in printed


def test_an_instances_json_is_called_one(true: Folder, predicted: Folder) -> None:
    predicted.json.write_text(json.dumps({"annotations": [{"id": 1, "image_id": 1, "segmentation": []}]}))
    with pytest.raises(InputError, match="this is the instances JSON of a data set; give its panoptic JSON here"):
        score_of(true, predicted)


BAD = (None, True, -1, 2**63, 10**400, 1e300, "", "x", "\x1b[31m", "../x", [], {}, [None] * 4, [[1]], {"a": 1})


@pytest.mark.parametrize("bad", BAD, ids=[f"{value!r:.12}" for value in BAD])
def test_a_wrong_value_anywhere_is_a_line_or_harmless(true: Folder, predicted: Folder, bad: Any) -> None:
    """In the truth and in the prediction, in every spot of both documents."""
    for own in (true, predicted):
        pristine = json.loads(json.dumps(own.content))
        for path in spots(pristine):
            own.content = changed(pristine, path, bad)
            own.save()
            problems: tuple[str, ...] = ()
            try:
                assert score_of(true, predicted)["PQ"] == 100, path
            except InputError as error:
                problems = error.problems
            assert all(p.isprintable() and len(p) < 600 for p in problems), path
        own.content = pristine
        own.save()


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside of a document, of long lists only the first two."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, child in inner:
        yield (*path, key)
        yield from spots(child, (*path, key))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at `path`."""
    copy = json.loads(json.dumps(document))
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return copy
