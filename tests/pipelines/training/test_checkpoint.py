"""Checkpoints and model folders: what is written comes back, and damage is named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from aunet.errors import InputError
from aunet.model import build_model
from aunet.predictor import Predictor
from pipelines import presets
from pipelines.settings.run_config import RunConfig, from_json
from pipelines.store.hashes import check_hashes, write_hashes
from pipelines.training.checkpoint import (
    DamagedCheckpoint,
    Progress,
    load_state,
    read_checkpoint,
    save_checkpoint,
    save_model,
    state_of,
)
from pipelines.training.optimization import LossScaler, average_weights, build_optimizer
from tests.hostile_files import Mark, saved
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
    progress = Progress().advanced("first", 9).advanced("second", 17).advanced("third", 17)
    save_checkpoint(tmp_path, progress, state_of(first), config)
    _, second = parts()
    loaded, state = read_checkpoint(tmp_path)
    load_state(state, second, tmp_path)
    assert loaded == progress == (17, (("first", 0, 9), ("second", 9, 17)))
    for name, one in first.items():
        torch.testing.assert_close(one.state_dict(), second[name].state_dict(), rtol=0, atol=0)
    assert from_json(RunConfig, json.loads((tmp_path / "config.json").read_text())) == config


@pytest.mark.parametrize(
    "state",
    [
        saved({"step": 1}),
        saved({"step": 1, "lineage": [["a", 0]]}),
        saved({"step": 1, "lineage": [["a", 0, "x"]]}),
        saved([1, 2]),
        b"text",
        b"",
        b"PK\x03\x04",
    ],
    ids=["no lineage", "half a lineage", "a lineage of text", "a list", "text", "no bytes", "half an archive"],
)
def test_what_is_not_a_checkpoint_is_one_line(tmp_path: Path, state: bytes) -> None:
    config, objects = parts()
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    save_checkpoint(folder, Progress(1), state_of(objects), config)
    (folder / "state.pt").write_bytes(state)
    write_hashes(folder)
    with pytest.raises(DamagedCheckpoint, match="not a checkpoint of this run") as caught:
        read_checkpoint(folder)
    assert caught.value.problems[0].endswith("remove its folder") and "\n" not in caught.value.problems[0]


def test_a_checkpoint_of_other_objects_is_one_line(tmp_path: Path) -> None:
    _, objects = parts()
    for state in ({}, {"model": 3, "average": 3, "optimizer": 3, "scaler": 3}):
        with pytest.raises(InputError, match="not a checkpoint of this run"):
            load_state(state, objects, tmp_path)


@pytest.mark.parametrize("step", [-1, 1.5, "1", None, True])
def test_a_step_is_a_number(tmp_path: Path, step: object) -> None:
    config, objects = parts()
    save_checkpoint(tmp_path, Progress(step), state_of(objects), config)  # type: ignore[arg-type]
    with pytest.raises(DamagedCheckpoint, match=re.escape(f"(step {step!r})")):
        read_checkpoint(tmp_path)


def test_a_pickle_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """Though its hash is right: whoever may write to the store can change both."""
    config, objects = parts()
    save_checkpoint(tmp_path, Progress(1), state_of(objects), config)
    (tmp_path / "state.pt").write_bytes(saved({"step": Mark(tmp_path / "mark"), "model": {}}))
    write_hashes(tmp_path)
    with pytest.raises(
        InputError, match=r"state\.pt: not a checkpoint of this run \(not a pickle of tensors and plain"
    ):
        read_checkpoint(tmp_path)
    assert not (tmp_path / "mark").exists()
    torch.load(tmp_path / "state.pt", weights_only=False)
    assert (tmp_path / "mark").exists(), "it would have been"


@pytest.mark.parametrize("name", ["state.pt", "config.json"])
def test_one_flipped_bit_is_named(tmp_path: Path, name: str) -> None:
    config, objects = parts()
    save_checkpoint(tmp_path, Progress(1), state_of(objects), config)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=name):
        read_checkpoint(tmp_path)


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
    with pytest.raises(InputError, match=r"no file model\.safetensors"):
        Predictor.from_folder(tmp_path / "nowhere")
