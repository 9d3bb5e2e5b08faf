"""Which images are labelled, and what they are called. The network is a stand-in that finds nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aunet.config import AttentionConfig, AUNetConfig
from aunet.errors import InputError
from tests.pipelines.labelling import Blind, labelled, new_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return new_folder(tmp_path)


def test_a_folder_is_labelled_whole_and_numbered(folder: Path) -> None:
    assert labelled(folder) == [(n, f"{i:012d}.png") for n, i in ((1, 1), (2, 16), (3, 19))]


def test_an_image_info_json_names_and_numbers_the_images(folder: Path) -> None:
    images = labelled(folder, image_info=str(folder / "info.json"))
    assert images == [(19, "000000000019.png"), (16, "000000000016.png")]
    assert sorted(p.name for p in (folder / "out" / "panoptic").iterdir()) == ["000000000016.png", "000000000019.png"]


def test_listed_images_that_are_missing_are_all_named(folder: Path) -> None:
    for number in (16, 19):
        (folder / "test2017" / f"{number:012d}.png").unlink()
    with pytest.raises(InputError) as caught:
        labelled(folder, image_info=str(folder / "info.json"))
    first, second = caught.value.problems
    assert f"000000000019.png: missing, image 19 of {folder}/info.json; add it or drop the entry" in first
    assert "000000000016.png: missing, image 16" in second


def test_a_list_with_gaps_and_doubles(folder: Path) -> None:
    images = [{"id": 16, "file_name": "a.png"}, {"id": 16, "file_name": "a.png"}, {"id": 3}]
    (folder / "info.json").write_text(json.dumps({"images": images}))
    with pytest.raises(InputError) as caught:
        labelled(folder, image_info=str(folder / "info.json"))
    assert [p.split(": ", 1)[1] for p in caught.value.problems] == [
        "images[2]: file_name missing or wrong in {'id': 3}; complete or drop the entry",
        "id 16 is given 2 times; keep one",
        "file_name a.png is given 2 times; keep one",
    ]


def test_attention_is_drawn_where_it_is_asked_for(folder: Path) -> None:
    labelled(folder)
    assert not (folder / "out" / "attention").exists()
    labelled(folder, attention=True, image_info=str(folder / "info.json"))
    assert sorted(p.name for p in (folder / "out" / "attention").iterdir()) == ["000000000016.png", "000000000019.png"]


def test_a_network_without_attention_says_so_before_it_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blind, "config", AUNetConfig(attention=AttentionConfig(pam=False, mam=False)))
    with pytest.raises(InputError, match=rf"--attention: {folder}/model has none .* leave the option out"):
        labelled(folder, attention=True)
    assert not (folder / "out").exists()
