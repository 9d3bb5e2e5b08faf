"""What names an import's inputs: equal in every process for equal inputs, another one when an image is another one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aunet.errors import InputError
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.formats import FORMATS, SourceOptions, open_source
from pipelines.data.importing.parts import IMAGES_PER_PART, ImportSettings, tasks_of
from pipelines.data.importing.task_keys import stable
from pipelines.import_data import import_data
from pipelines.store.panoptic_folder import PanopticFolder
from tests.commands import ROOT, environment
from tests.importers.cases import ALL
from tests.importers.scenes import Original, generated
from tests.importers.writers import png, put
from tests.preparing import contents

KEYS_OF_ALL = """
import json, sys
from tests.pipelines.data.importing.test_task_keys import key_of
print(json.dumps([key_of(format, options) for format, options in json.load(sys.stdin)]))
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return generated(tmp_path_factory.mktemp("original"), 2)


def written(name: str, original: Original, folder: Path) -> tuple[str, dict[str, Any]]:
    """Format and options of a source that is written to `folder`."""
    format, write, options = ALL[name]
    write(original, folder)
    given = options(original, folder)
    return format, {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}


def key_of(format: str, options: dict[str, Any]) -> str:
    """The key of the first task of an import."""
    things = options.get("things")
    choice = CategoryChoice(things=things and tuple(name for word in things for name in word.split(",")))
    source = SourceOptions(**{name: value for name, value in options.items() if name != "things"})
    reader = open_source(format, source, choice, "train")
    return next(tasks_of(reader.items(), reader.drawer, PanopticFolder("out", "train"), ImportSettings())).key


def test_keys_are_the_same_in_every_process(original: Original, tmp_path: Path) -> None:
    """Also where a set of texts has another order, which PYTHONHASHSEED decides."""
    sources = [written(name, original, tmp_path / str(number)) for number, name in enumerate(ALL)]
    assert {format for format, _ in sources} == set(FORMATS)
    keys = []
    for seed in ("1", "2", "3"):
        answer = subprocess.run(
            [sys.executable, "-c", KEYS_OF_ALL],
            cwd=ROOT,
            env=environment(tmp_path, {"PYTHONHASHSEED": seed}),
            input=json.dumps(sources),
            capture_output=True,
            text=True,
            check=True,
        )
        keys.append(dict(zip(ALL, json.loads(answer.stdout), strict=True)))
    assert keys[0] == keys[1] == keys[2] and len(set(keys[0].values())) == len(ALL)


@pytest.mark.parametrize("name", ALL)
def test_an_image_that_was_replaced_is_another_input(name: str, original: Original, tmp_path: Path) -> None:
    format, options = written(name, original, tmp_path)
    before = key_of(format, options)
    assert key_of(format, options) == before
    files = sorted(tmp_path.rglob("*"))
    image = next(path for path in files if path.suffix == ".jpg" or path.stem.endswith("_leftImg8bit"))
    os.utime(image, ns=(10**18, 10**18))
    assert key_of(format, options) != before


def test_images_of_another_folder_are_other_inputs(original: Original, tmp_path: Path) -> None:
    format, options = written("coco with stuff JSON", original, tmp_path / "in")
    shutil.copytree(tmp_path / "in/images", tmp_path / "other", copy_function=shutil.copy2)
    import_data(format, str(tmp_path / "out"), workers=1, **options)
    with pytest.raises(InputError, match=r"panoptic_train\.json: exists, of another source"):
        import_data(format, str(tmp_path / "out"), workers=1, **{**options, "images": str(tmp_path / "other")})


def test_what_is_resumed_reads_every_image_where_it_is_now(tmp_path: Path) -> None:
    """The first part is finished with the images of one folder, the second one is broken."""
    count = IMAGES_PER_PART + 1
    for grey, folder in enumerate(("one", "two")):
        for number in range(count):
            put(tmp_path / folder / f"{number}.png", png(np.full((8, 8, 3), grey, dtype=np.uint8)))
            os.utime(tmp_path / folder / f"{number}.png", ns=(10**18, 10**18))
    images = [{"id": n, "file_name": f"{n}.png", "width": 8, "height": 8} for n in range(count)]
    square = {"category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]], "iscrowd": 0}
    annotations = [{"id": n, "image_id": n, **square} for n in range(count)]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    put(tmp_path / "instances.json", json.dumps(document))
    (tmp_path / f"one/{count - 1}.png").write_bytes(b"GIF89a")

    def imported(folder: str) -> Any:
        images, annotations = str(tmp_path / folder), str(tmp_path / "instances.json")
        return import_data("coco", str(tmp_path / "out"), images=images, annotations=annotations, workers=1)

    with pytest.raises(InputError, match="a GIF file"):
        imported("one")
    assert (tmp_path / "out/annotations/.import_train/000000.json.gz").exists()
    assert imported("two").images == count
    assert contents(tmp_path / "out/train") == contents(tmp_path / "two")


@dataclass(frozen=True)
class Holder:
    value: Any


def test_only_what_is_stable_is_part_of_a_key() -> None:
    letters = {letter: number for number, letter in enumerate("abcdefgh")}
    backwards = dict(reversed(letters.items()))
    assert stable(Holder(letters)) == stable(Holder(backwards)) != stable(Holder({**letters, "a": 9}))
    assert (
        stable(Holder(frozenset(letters))) == stable(Holder(frozenset(backwards))) == ["Holder", {"value": [*letters]}]
    )
    with pytest.raises(TypeError, match="a object cannot be part of a key"):
        stable(Holder((object(),)))
