"""Files that torch would unpickle or run: damaged and hostile ones give one line and do nothing."""

from __future__ import annotations

import contextlib
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from aunet.torch_files import read_program, read_state
from tests.hostile_files import Mark, hostile_programs, saved, small_program

WAYS = ["inputs", "pickled weight", "opaque constant", "expression", "guard", "target", "spec", "library"]
RUNS = {"inputs", "pickled weight", "opaque constant", "expression", "guard"}
"""Those of which torch itself runs the code."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_program(tmp_path_factory.mktemp("program") / "model.pt2")


def test_a_state_comes_back(tmp_path: Path) -> None:
    for number, options in enumerate(({}, {"_use_new_zipfile_serialization": False})):
        torch.save({"w": torch.arange(3), "step": 7, "more": [None, "a", 1.5]}, tmp_path / str(number), **options)
        state = read_state(tmp_path / str(number))
        assert state["w"].tolist() == [0, 1, 2] and (state["step"], state["more"]) == (7, [None, "a", 1.5])


def test_a_pickle_in_a_state_is_not_run(tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / "state.pt"
    for content in (saved({"w": Mark(mark)}), pickle.dumps(Mark(mark))):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"^not a pickle of tensors and plain values alone$"):
            read_state(file)
        assert not mark.exists()
    file.write_bytes(saved(Mark(mark)))
    torch.load(file, weights_only=False)
    assert mark.exists(), "it would have been"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", b"\x80\x04N.", b"\x00" * 1000], ids=repr)
def test_damaged_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt2").write_bytes(content)
    for read in (read_state, read_program):
        with pytest.raises(ValueError, match=r"^[^\n]{5,160}$"):
            read(tmp_path / "model.pt2")


def test_a_truncated_program_and_one_with_flipped_bits(program: Path, tmp_path: Path) -> None:
    content = program.read_bytes()
    for size in (10, len(content) // 2, len(content) - 1):
        (tmp_path / "model.pt2").write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            read_program(tmp_path / "model.pt2")


def test_what_grows_when_unpacked_is_refused(tmp_path: Path) -> None:
    for name, read in (("state.pt", read_state), ("model.pt2", read_program)):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model/data.pkl", bytes(50_000_000))
            archive.writestr("model/version", b"3")
        with pytest.raises(ValueError, match=r"compressed: 50000001 bytes in a file of \d{5}"):
            read(tmp_path / name)


def test_a_program_comes_back(program: Path) -> None:
    assert read_program(program).module()(torch.zeros(6, 3)).shape == (12, 2)


@pytest.mark.parametrize("way", WAYS)
def test_a_program_that_runs_code_is_refused(way: str, program: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    hostile = hostile_programs(program, tmp_path, mark)
    assert list(hostile) == WAYS
    patterns = {
        "inputs": "not a pickle of tensors",
        "pickled weight": "'linear.weight' is pickled",
        "opaque constant": "holds 'data/constants/opaque_obj_0', which no export writes",
        "expression": "evaluates .*__import__",
        "guard": "evaluates .*__import__",
        "target": r"calls 'torch\.os\.system'",
        "spec": "has inputs or outputs .*default_factory",
        "library": r"holds 'data/aotinductor/model/model\.so', which no export writes",
    }
    with pytest.raises(ValueError, match=patterns[way]):
        read_program(hostile[way])
    assert not mark.exists()
    if way in RUNS:
        with contextlib.suppress(Exception):
            torch.export.load(hostile[way]).module()(torch.zeros(6, 3))
        assert mark.exists(), "torch would have run it"
