"""Every damage of a checkpoint is noticed, and the one before is used."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipelines.runtime.board import LocalLink
from pipelines.store.checkpoints import Checkpoint
from pipelines.store.run_folder import RunFolder
from pipelines.training.checkpoint import DamagedCheckpoint, read_checkpoint
from pipelines.training.worker import Worker
from tests.checkpointing import loaded, with_checkpoints

pytestmark = pytest.mark.faults
FLIPS = 1000


class Damages:
    """A run with two checkpoints, of which the newest is damaged in many ways."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.older, self.newest = folder.checkpoints.complete()
        self.files = {path: path.read_bytes() for path in sorted(Path(self.newest.uri).iterdir())}
        self.noticed = 0

    def notice(self, file: Path, damaged: bytes | None) -> None:
        """Damage a file, and make sure that it is noticed and the run resumes from the older checkpoint."""
        file.unlink() if damaged is None else file.write_bytes(damaged)
        if self.newest in self.folder.checkpoints.complete():
            with pytest.raises(DamagedCheckpoint):
                read_checkpoint(Path(self.newest.uri))
        assert chosen(self.folder) == self.older and loaded(self.older) == 1
        shutil.rmtree(self.newest.uri)
        Path(self.newest.uri).mkdir()
        for path, content in self.files.items():
            path.write_bytes(content)
        self.noticed += 1


def chosen(folder: RunFolder) -> Checkpoint:
    """The checkpoint from which a worker resumes."""
    link = LocalLink()
    choice = Worker._choose(cast(Any, SimpleNamespace(folder=folder, link=link)))
    assert choice is not None and choice[0] in folder.checkpoints.complete()
    return choice[0]


@pytest.fixture
def damages(tmp_path: Path) -> Damages:
    return Damages(with_checkpoints(tmp_path / "run", 1, 2))


def test_undamaged_the_newest_is_chosen(damages: Damages) -> None:
    assert chosen(damages.folder) == damages.newest and loaded(damages.newest) == 2


def test_a_thousand_flipped_bits(damages: Damages, capsys: pytest.CaptureFixture[str]) -> None:
    """In every file, in proportion to its size, and at least a hundred in each."""
    dice, files = random.Random(0), list(damages.files)
    sizes = [len(content) for content in damages.files.values()]
    assert len(files) == 3
    chosen_files = [file for file in files for _ in range(100)]
    chosen_files += dice.choices(files, sizes, k=FLIPS - len(chosen_files))
    for file in chosen_files:
        content = bytearray(damages.files[file])
        bit = dice.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        damages.notice(file, bytes(content))
    assert damages.noticed == FLIPS
    with capsys.disabled():
        print(f"\nflipped bits: {damages.noticed} of {FLIPS} noticed")


def test_truncations_and_absence(damages: Damages, capsys: pytest.CaptureFixture[str]) -> None:
    """Of every file nothing, a byte, a half, all but a byte, a byte too many, and 20 random lengths."""
    dice = random.Random(1)
    for file, content in damages.files.items():
        size = len(content)
        for length in (0, 1, size // 2, size - 1, *(dice.randrange(size) for _ in range(20))):
            damages.notice(file, content[:length])
        damages.notice(file, content + b"\0")
        damages.notice(file, None)
    assert damages.noticed == 3 * 26
    with capsys.disabled():
        print(f"\ntruncations and absences: {damages.noticed} noticed")


def test_without_hashes_flipped_bits_would_be_loaded(damages: Damages) -> None:
    """The same test without the protection: of the bits in the state, many change nothing that anybody else notices."""
    from pipelines.store.hashes import write_hashes

    dice, silent = random.Random(0), 0
    state = Path(damages.newest.uri, "state.pt")
    for _ in range(50):
        content = bytearray(damages.files[state])
        bit = dice.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        state.write_bytes(bytes(content))
        write_hashes(state.parent)
        try:
            read_checkpoint(state.parent)
            silent += 1
        except DamagedCheckpoint:
            pass
    assert silent > 0
