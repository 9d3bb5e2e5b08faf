"""Pretrained weights from an object store: fetched once, checked by the hash in their name."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from aunet.config import AUNetConfig, BackboneConfig
from aunet.errors import InputError
from pipelines.store import storage
from pipelines.training.pretrained import with_local_weights

CONTENT = b"weights"
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def model(weights: str | None) -> AUNetConfig:
    return AUNetConfig(backbone=BackboneConfig(weights=weights))


def test_weights_in_a_bucket_are_fetched_once(s3: str, cache: Path) -> None:
    uri = storage.join(s3, f"resnet50-{DIGITS}.pth")
    storage.write_bytes(uri, CONTENT)
    local = with_local_weights(model(uri))
    path = local.backbone.weights
    assert path and path == str(cache / f"resnet50-{DIGITS}.pth") and Path(path).read_bytes() == CONTENT
    assert replace(local, backbone=replace(local.backbone, weights=uri)) == model(uri)
    storage.write_bytes(uri, b"gone")
    assert with_local_weights(model(uri)) == local


def test_a_wrong_content_is_refused_and_not_kept(s3: str, cache: Path) -> None:
    uri = storage.join(s3, f"resnet50-{DIGITS}.pth")
    storage.write_bytes(uri, b"something else")
    with pytest.raises(InputError, match="damaged or a different one"):
        with_local_weights(model(uri))
    assert not cache.exists()


def test_a_name_without_a_hash_is_refused() -> None:
    with pytest.raises(InputError, match=r"rename the file to resnet50-HASH\.pth"):
        with_local_weights(model("s3://bucket/resnet50.pth"))


@pytest.mark.parametrize("weights", [None, "IMAGENET1K_V1", "folder/resnet50.pth", "resnet50:v2.pth"])
def test_names_and_paths_stay(weights: str | None) -> None:
    assert with_local_weights(model(weights)) == model(weights)
