"""Which checkpoints count, and which are no longer needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.store import storage
from pipelines.store.checkpoints import Checkpoint, Checkpoints, superseded


@pytest.fixture(params=["folder", "s3"])
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoints:
    root = str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue("s3")
    return Checkpoints(storage.join(root, "runs", "one", "checkpoints"))


def write(checkpoint: Checkpoint, *names: str) -> Checkpoint:
    for name in names:
        storage.write_bytes(storage.join(checkpoint.uri, name), b"{}")
    return checkpoint


def test_complete_ones_count_in_the_order_of_their_steps(checkpoints: Checkpoints) -> None:
    assert checkpoints.complete() == [] == checkpoints.others()
    new = [write(checkpoints.new(step), "state.pt", "sha256.json") for step in (120, 9, 1000)]
    half = write(checkpoints.new(2000), "state.pt")
    storage.write_bytes(storage.join(checkpoints.uri, "notes/sha256.json"), b"{}")
    assert [checkpoint.step for checkpoint in checkpoints.complete()] == [9, 120, 1000]
    assert checkpoints.others() == [half]
    new[2].mark_damaged("a bit was flipped")
    assert [checkpoint.step for checkpoint in checkpoints.complete()] == [9, 120]
    assert checkpoints.others() == [new[2], half]
    for checkpoint in checkpoints.others():
        checkpoint.delete()
    assert checkpoints.others() == [] and len(checkpoints.complete()) == 2


def test_one_step_may_be_saved_twice(checkpoints: Checkpoints) -> None:
    first, second = checkpoints.new(3), checkpoints.new(3)
    assert first != second and first.step == second.step == 3


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path / "checkpoints"))
    outside = write(Checkpoints(str(tmp_path / "elsewhere")).new(5), "state.pt", "sha256.json")
    Path(checkpoints.uri).mkdir()
    (Path(checkpoints.uri) / outside.name).symlink_to(outside.uri, target_is_directory=True)
    assert checkpoints.complete() == [] == checkpoints.others()


@pytest.mark.parametrize(
    ("keep_last", "needed", "kept"),
    [(1, set(), [60]), (2, set(), [50, 60]), (9, set(), [10, 20, 30, 40, 50, 60]), (2, {10, 30}, [10, 30, 50, 60])],
)
def test_the_last_and_those_that_are_needed_are_kept(keep_last: int, needed: set[int], kept: list[int]) -> None:
    checkpoints = Checkpoints("/runs/one/checkpoints")
    all_of_them = [checkpoints.new(step) for step in range(10, 70, 10)]
    old = superseded(all_of_them, keep_last, lambda step: step in needed)
    assert [checkpoint.step for checkpoint in all_of_them if checkpoint not in old] == kept
