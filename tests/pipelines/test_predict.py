"""Which images are labelled, and what they are called. The network is a stand-in that finds nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aunet.config import AttentionConfig, AUNetConfig
from aunet.errors import InputError
from pipelines.predict import predict
from tests.cityscapes import png
from tests.pipelines.labelling import Blind, blind, labelled, new_folder
from tests.preparing import config_of, preprocess_here


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return new_folder(tmp_path)


def test_a_folder_is_labelled_whole_and_numbered(folder: Path) -> None:
    assert labelled(folder) == [(n, f"{i:012d}.png") for n, i in ((1, 1), (2, 16), (3, 19))]


def test_an_image_that_the_model_cannot_label_costs_only_itself(folder: Path) -> None:
    (folder / "test2017" / "panorama.png").write_bytes(png(np.zeros((3, 90, 3), np.uint8)))
    with pytest.raises(InputError) as caught:
        labelled(folder)
    assert caught.value.problems[0] == f"{folder}/test2017/panorama.png: too small"
    assert "the other 3 of 4 images are labelled" in caught.value.problems[1]


def test_an_image_info_json_names_and_numbers_the_images(folder: Path) -> None:
    images = labelled(folder, image_info=str(folder / "info.json"))
    assert images == [(19, "000000000019.png"), (16, "000000000016.png")]
    assert sorted(p.name for p in (folder / "out" / "panoptic").iterdir()) == ["000000000016.png", "000000000019.png"]


def test_prepared_data_is_labelled_image_by_image(folder: Path, raw: Path) -> None:
    uri = preprocess_here(config_of(raw, rows_per_shard=2)).uri
    out = predict(str(folder / "model"), uri, str(folder / "out"), load=blind)
    document = json.loads(Path(out.panoptic_json).read_bytes())
    names = [image["file_name"] for image in document["images"]]
    assert (out.images, len(set(names))) == (7, 7)
    assert sorted(names) == sorted(f"{path.parent.name}/{path.name}" for path in raw.glob("*/*.jpg"))
    written = {path.relative_to(out.panoptic_dir).as_posix() for path in Path(out.panoptic_dir).rglob("*.png")}
    assert written == {str(Path(name).with_suffix(".png")) for name in names}
    again = predict(str(folder / "model"), uri, str(folder / "again"), load=blind)
    assert json.loads(Path(again.panoptic_json).read_bytes()) == document
    with pytest.raises(InputError, match="--image-info: goes by file names of a folder, and --images"):
        predict(str(folder / "model"), uri, str(folder / "o"), image_info=str(folder / "info.json"), load=blind)
    with pytest.raises(InputError, match="inside of --images"):
        predict(str(folder / "model"), uri, f"{uri}/out", load=blind)


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
