"""Folders of images to be labelled by a stand-in for a network, which finds nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from aunet.config import AttentionConfig, AUNetConfig
from aunet.data.cityscapes import CATEGORIES
from aunet.errors import InputError
from pipelines.predict import predict
from tests.cityscapes import png


class Blind:
    categories = CATEGORIES
    config = AUNetConfig(attention=AttentionConfig(pam=False))

    def check_size(self, image: np.ndarray) -> None:
        """Every size is fine but one."""
        if image.shape[:2] == (3, 90):
            raise InputError("too small")

    def __call__(self, images: list[np.ndarray]) -> list[Any]:
        return [
            SimpleNamespace(
                panoptic=SimpleNamespace(ids=torch.zeros(i.shape[:2]).int(), segments=[]),
                attention={"mam": torch.ones(i.shape[:2])},
            )
            for i in images
        ]


def new_folder(tmp_path: Path) -> Path:
    """A model folder, and three images of which a test set has two."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").touch()
    (tmp_path / "test2017").mkdir()
    for number in (1, 16, 19):
        (tmp_path / "test2017" / f"{number:012d}.png").write_bytes(png(np.zeros((6, 8, 3), np.uint8)))
    images = [{"id": n, "file_name": f"{n:012d}.png", "height": 6, "width": 8} for n in (19, 16)]
    (tmp_path / "info.json").write_text(json.dumps({"images": images, "categories": []}))
    return tmp_path


def blind(uri: str, trust_exported: bool = False) -> Any:
    return Blind()


def labelled(folder: Path, **options: Any) -> list[tuple[int, str]]:
    out = predict(str(folder / "model"), str(folder / "test2017"), str(folder / "out"), **options, load=blind)
    document = json.loads(Path(out.panoptic_json).read_bytes())
    assert [a["image_id"] for a in document["annotations"]] == [i["id"] for i in document["images"]]
    return [(i["id"], i["file_name"]) for i in document["images"]]
