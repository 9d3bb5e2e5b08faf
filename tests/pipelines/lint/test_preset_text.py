"""A preset's file: Python that says what it was told, whatever categories and folders are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.lint.preset_text import preset_text
from pipelines.lint.proposal import Setting
from pipelines.settings.own_presets import own_presets
from pipelines.settings.recipes import laptop
from pipelines.settings.run_config import RunConfig

SPLIT = {"images": "train", "panoptic_json": "a.json", "panoptic_dir": "a"}
HOSTILE = (
    "x\"'\\",
    "x\nimport os\nraise SystemExit",
    "x\r\fraise SystemExit",
    '"""',
    "{name}",
    "’\u2028\u202e\x00",
    "ü" * 300,
)


def written(folder: Path, **changes: Any) -> tuple[str, RunConfig]:
    values: dict[str, Any] = {
        "name": "mine",
        "summary": "Some images.",
        "root": "/data",
        "splits": {"train": SPLIT, "val": {**SPLIT, "image_ids": tuple(range(10**8, 10**8 + 200))}},
        "settings": [Setting("train.epochs", 7, "enough"), Setting("train.optimizer", "adamw", "usual")],
        "model_name": "aunet-mine",
        "pretrained": True,
        "gpus": 0,
    }
    text = preset_text(**(values | changes))
    (folder / "preset_mine.py").write_text(text)
    return text, own_presets(folder)["mine"]()


@pytest.mark.parametrize(("gpus", "per_node"), [(2, 2), (16, 8)])
def test_gpus_have_pods_that_can_feed_them(tmp_path: Path, gpus: int, per_node: int) -> None:
    _, config = written(tmp_path, gpus=gpus)
    pods = config.cluster
    assert (pods.gpus_per_node, pods.cpus_per_node, pods.memory_gb) == (per_node, 4 * per_node, 24 * per_node)
    assert config.feed.workers == 2 and written(tmp_path)[1].cluster == laptop()


@pytest.mark.parametrize("pretrained", [True, False])
def test_the_file_is_the_preset(tmp_path: Path, pretrained: bool) -> None:
    text, config = written(tmp_path, pretrained=pretrained)
    assert (config.train.epochs, config.train.optimizer, config.data.root) == (7, "adamw", "/data")
    assert config.register.model_name == "aunet-mine" and len(config.data.val.image_ids) == 200
    assert (config.model.backbone.name == "timm:tf_efficientnet_lite0") == pretrained
    assert max(map(len, text.splitlines())) <= 120
    assert '        # Enough.\n        "train.epochs": 7,' in text
    assert ("lite0" in text) == pretrained == ("replace" in text)


@pytest.mark.parametrize("odd", HOSTILE)
def test_no_name_in_the_data_becomes_code(tmp_path: Path, odd: str) -> None:
    settings = [Setting("train.epochs", 7, f"rare: {odd}"), Setting("train.optimizer", "sgd", odd)]
    _, config = written(
        tmp_path, root=f"/data/{odd}", settings=settings, splits={"train": {**SPLIT, "images": odd}, "val": SPLIT}
    )
    assert config.data.root == f"/data/{odd}" and config.data.train.images == odd
    assert (config.train.epochs, config.train.optimizer) == (7, "sgd")
