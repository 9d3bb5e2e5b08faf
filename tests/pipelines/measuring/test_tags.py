"""Tags of images, as people write them."""

from __future__ import annotations

import json

import pytest

from aunet.errors import InputError
from pipelines.measuring.tags import read_tags, with_tags

TAGS = {7: {"file_name": "val/a.png"}, 8: {"file_name": "val/b.png"}}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (json.dumps({"7": {"weather": "rain"}, "val/b.png": {"weather": "sun", "lux": 3}}), "tags.json"),
        (json.dumps({"a.png": {"weather": "rain"}, "b.png": {"weather": "sun", "lux": 3}}), "tags.json"),
        ("image_id,weather,lux\n7,rain,\n8,sun,3\n", "tags.csv"),
        ("\ufefffile_name,weather,lux\nval/a.png,rain,\nb.png,sun,3\n", "tags.csv"),
        (
            json.dumps(
                {
                    "images": [
                        {"id": 7, "file_name": "x.png", "height": 3, "weather": "rain", "nested": {"no": 1}},
                        {"id": 8, "weather": "sun", "lux": 3},
                    ],
                    "annotations": [],
                }
            ),
            "instances_val.json",
        ),
    ],
)
def test_forms(data: str, name: str) -> None:
    tags = with_tags(TAGS, read_tags(data.encode(), name), name)
    assert tags[7]["weather"] == "rain" and tags[8] == {"file_name": "val/b.png", "weather": "sun", "lux": "3"}
    assert "nested" not in tags[7] and "lux" not in tags[7]


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"[]", "tags.json", r"tags\.json: holds a list; give a JSON object"),
        (b"{}", "tags.json", r"tags\.json: no tags in it"),
        (b'{"7": "rain"}', "tags.json", r"tags\.json: '7' holds a text, not \{tag: text\}"),
        (b"weather\nrain\n", "tags.csv", r"tags\.csv: no column image_id or id or file_name"),
        (b"\xff\xfe", "tags.csv", r"tags\.csv: not a CSV in UTF-8"),
        (b"{", "tags.json", r"tags\.json: not JSON"),
    ],
)
def test_other_files_are_refused(data: bytes, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_tags(data, name)


def test_tags_of_other_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"--tags t\.json: of none of the images, such as 7"):
        with_tags(TAGS, {"99": {"weather": "rain"}}, "t.json")
