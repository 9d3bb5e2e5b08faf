"""Checkpoints and model folders: what is written comes back, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from aunet.errors import InputError
from aunet.model import build_model
from aunet.predictor import Predictor
from pipelines import presets
from pipelines.settings.run_config import RunConfig, from_json
from pipelines.training.checkpoint import check_hashes, load_checkpoint, save_checkpoint, save_model
from pipelines.training.optimization import LossScaler, average_weights, build_optimizer
from tests.tiny import CATEGORIES, TINY


def parts():
    config = presets.shapes_smoke()
    model = torch.nn.Linear(3, 2)
    return config, {
        "model": model,
        "average": average_weights(model, 0.9),
        "optimizer": build_optimizer(model, config.train),
        "scaler": LossScaler(torch.device("cpu"), enabled=True),
    }


def train(parts) -> None:
    parts["scaler"].scale(parts["model"](torch.ones(1, 3)).sum()).backward()
    parts["scaler"].step(parts["optimizer"])
    parts["scaler"].update()
    parts["average"].update_parameters(parts["model"])


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    config, first = parts()
    train(first)
    save_checkpoint(tmp_path, 17, first, config)
    _, second = parts()
    assert load_checkpoint(tmp_path, second) == 17
    for name, one in first.items():
        torch.testing.assert_close(one.state_dict(), second[name].state_dict(), rtol=0, atol=0)
    assert from_json(RunConfig, json.loads((tmp_path / "config.json").read_text())) == config


@pytest.mark.parametrize("name", ["state.pt", "config.json"])
def test_one_flipped_bit_is_named(tmp_path: Path, name: str) -> None:
    config, objects = parts()
    save_checkpoint(tmp_path, 1, objects, config)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=name):
        load_checkpoint(tmp_path, objects)


def test_a_folder_without_hashes_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sha256"):
        check_hashes(tmp_path)


def test_a_model_folder_predicts_as_before(tmp_path: Path) -> None:
    config = presets.shapes_smoke()
    torch.manual_seed(0)
    before = Predictor(build_model(TINY, CATEGORIES), TINY, CATEGORIES, config.augment, config.fusion)
    save_model(tmp_path, before.model.state_dict(), before.settings())
    check_hashes(tmp_path)
    after = Predictor.from_folder(tmp_path)
    image = torch.randint(0, 256, (60, 90, 3), dtype=torch.uint8).numpy()
    first, second = before([image])[0], after([image])[0]
    assert torch.equal(first.prediction.semantic_logits, second.prediction.semantic_logits)
    assert torch.equal(first.panoptic.ids, second.panoptic.ids)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    config = presets.shapes_smoke()
    predictor = Predictor(build_model(TINY, CATEGORIES), TINY, CATEGORIES, config.augment, config.fusion)
    weights = predictor.model.state_dict()
    weights.pop("background.classifier.weight")
    save_model(tmp_path, weights, predictor.settings())
    with pytest.raises(InputError, match=r"model\.safetensors does not fit"):
        Predictor.from_folder(tmp_path)
    with pytest.raises(InputError, match="is missing"):
        Predictor.from_folder(tmp_path / "nowhere")
