"""Pretrained weights: whoever wrote the file, reading it runs nothing."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import ResNet18_Weights

from aunet.errors import InputError
from aunet.model.pretrained import read_weights
from tests.hostile_files import Mark, saved

WAYS: dict[str, Callable[[Path], bytes]] = {
    "a state": lambda mark: saved({"w": Mark(mark)}),
    "a plain pickle": lambda mark: pickle.dumps(Mark(mark), 2),
    "a newer pickle": lambda mark: pickle.dumps({"w": Mark(mark)}),
}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("way", list(WAYS))
def test_a_pickle_in_a_file_is_not_run(tmp_path: Path, way: str, suffix: str) -> None:
    mark, content = tmp_path / "mark", WAYS[way](tmp_path / "mark")
    path = tmp_path / f"weights-{hashlib.sha256(content).hexdigest()[:8]}{suffix}"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"^model\.backbone\.weights = .*: not a state dict \([^\n]+\); fetch the file"
    ):
        read_weights("resnet18", str(path))
    assert not mark.exists()
    with contextlib.suppress(RuntimeError):
        torch.load(io.BytesIO(content), weights_only=False)
    assert mark.exists(), "it would have been"


def test_a_pickle_in_the_cache_of_torchvision_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision loads a file that is there already without looking at its hash, and unpickles what is in it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entry, mark = ResNet18_Weights.IMAGENET1K_V1, tmp_path / "mark"
    cached = tmp_path / "hub" / "checkpoints" / entry.url.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(saved({"w": Mark(mark)}))
    with pytest.raises(InputError, match=r"the content's SHA-256 starts with \w{8}, not with f37072fd; the file is"):
        read_weights("resnet18", "IMAGENET1K_V1")
    assert not mark.exists()
    entry.get_state_dict(progress=False, weights_only=False)
    assert mark.exists(), "it would have been"


@pytest.mark.parametrize("content", [saved([1]), saved({"w": "text"}), saved(torch.zeros(2)), b"", b"PK\x03\x04"])
def test_what_is_not_named_tensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(InputError, match="not a state dict"):
        read_weights("resnet18", str(tmp_path / "weights.pth"))


def test_a_date_at_the_end_of_a_name_is_read_as_a_hash_and_the_message_says_so(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "resnet50-20240115.pth")
    message = (
        r"not with 20240115; .* fetch it again, or rename it if 20240115, which was read as a hash, is something else"
    )
    with pytest.raises(InputError, match=message):
        read_weights("resnet50", str(tmp_path / "resnet50-20240115.pth"))


def test_both_formats_are_read(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pth")
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        assert read_weights("resnet18", str(tmp_path / name))["w"].tolist() == [1, 1]
