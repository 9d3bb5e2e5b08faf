"""From labelled photos in nested folders to a model and its report, by the commands of docs/your_data.md alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from aunet.data.shapes import write_scenes
from tests.labelme import write_labelme
from tests.newcomer import PROGRAM, Step, checkout, follow, walkthrough, words_of

SHORT = "--train.epochs 2 --augment.short_sides 64 --augment.max_size 96 --augment.crop 64 64"
"""What a test changes of the run, to end in seconds."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a LabelMe folder of generated scenes, and photos without labels."""
    folder = checkout(tmp_path_factory.mktemp("newcomer"))
    write_scenes(folder / "scenes", num_train=14, num_val=3, height=96, width=128)
    assert write_labelme(folder / "scenes", "train", folder / "my_photos", 14) == 14
    (folder / "scenes" / "val").rename(folder / "new_photos")
    return folder


def test_the_page_leads_to_a_model(photos: Path) -> None:
    commands = [
        command.replace("car,pedestrian,bicyclist", "ball,crate,tent,star,ring,cross") for command in walkthrough()
    ]
    commands = [f"{command} {SHORT}" if command.endswith("run my_streets") else command for command in commands]
    assert [words_of(command)[0] for command in commands] == [
        "import-data",
        "lint-data",
        "new-preset",
        "preview",
        "plan",
        "run",
        "report",
        "predict",
    ]
    steps: list[Step] = []
    for step in follow(commands, photos):
        print(f"{step.seconds:.0f} s  {step.command}")
        steps.append(step)
        assert step.exit_code == 0, step.stderr[-3000:]
    imported, _, preset, preview, plan, run, report, predicted = (step.result for step in steps)
    assert imported["images"] == 14 and (photos / "my_data/train/tuesday/morning").is_dir(), "folders are kept"
    assert preset["model_name"] == "aunet-my-streets" and preview["warnings"] == [] and plan["refused"] == []
    assert run["model"]["uri"] == "models:/aunet-my-streets/1" and run["model"]["alias"] == "champion"
    assert report["PQ"] == run["PQ"] and predicted["images"] == 3
    assert (photos / "my_streets-preview.html").is_file() and (photos / "lint/lint.html").is_file()
    assert len(list((photos / "labelled").rglob("*.png"))) >= 3
    wrong = next(follow([f"{PROGRAM} run my_street"], photos))
    assert wrong.exit_code == 2 and "did you mean my_streets?" in wrong.stderr
