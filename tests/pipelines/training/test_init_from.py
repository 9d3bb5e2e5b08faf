"""Training that starts from a trained network of other categories."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from aunet.categories import Categories, Category
from aunet.config import AugmentConfig, AUNetConfig, FusionConfig
from aunet.errors import InputError
from aunet.model import build_model
from aunet.predictor import Predictor
from pipelines.store.hashes import digest, write_hashes
from pipelines.training.origin import worker_facts
from pipelines.training.pretrained import build_network, with_local_weights
from tests.tiny import CATEGORIES, TINY

OTHER = Categories((*CATEGORIES.entries, Category(id=20, name="ring", is_thing=True)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, as training writes it."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("model")
    predictor = Predictor(build_model(TINY, CATEGORIES), TINY, CATEGORIES, AugmentConfig(), FusionConfig())
    save_file({n: w.contiguous() for n, w in predictor.model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(predictor.settings()))
    write_hashes(folder)
    return folder


def from_folder(folder: Path) -> AUNetConfig:
    return replace(TINY, init_from=str(folder))


def test_all_but_the_last_layers_of_the_heads_is_taken_over(trained: Path) -> None:
    torch.manual_seed(0)
    model, lines = build_network(from_folder(trained), OTHER)
    torch.manual_seed(5)
    source = build_model(TINY, CATEGORIES).state_dict()
    torch.manual_seed(0)
    anew = build_model(TINY, OTHER).state_dict()
    heads = ["box_predictor.cls_score", "box_predictor.bbox_pred", "mask_predictor.mask_fcn_logits"]
    named = {f"foreground.{head}.{kind}" for head in heads for kind in ("weight", "bias")}
    assert {line.split(" ")[1] for line in lines} == named
    assert "model.init_from: foreground.box_predictor.cls_score.bias starts anew: [4] here, [3] there" in lines
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, (anew if name in named else source)[name]), name


def test_the_same_categories_take_over_everything(trained: Path) -> None:
    model, lines = build_network(from_folder(trained), CATEGORIES)
    torch.manual_seed(5)
    source = build_model(TINY, CATEGORIES).state_dict()
    assert lines == [] and all(torch.equal(w, source[n]) for n, w in model.state_dict().items())


def test_attention_that_is_new_starts_anew_and_is_named(trained: Path) -> None:
    config = from_folder(trained)
    _, lines = build_network(replace(config, background=replace(TINY.background, final_conv=True)), CATEGORIES)
    assert all(": [16" in line and line.endswith("here, not there") for line in lines) and len(lines) == 3


def test_what_cannot_be_a_start_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model.init_from = '.*nowhere': .*no model.safetensors or model.pt2 there"):
        build_network(from_folder(tmp_path / "nowhere"), CATEGORIES)
    other = replace(from_folder(trained), backbone=replace(TINY.backbone, name="timm:regnety_002", norm="bn"))
    with pytest.raises(InputError, match=r"no weight of its backbone fits; use its model.backbone.name"):
        build_network(other, CATEGORIES)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in trained.iterdir():
        data = bytearray(path.read_bytes())
        if path.name == "model.safetensors":
            data[-5] ^= 1
        (damaged / path.name).write_bytes(data)
    with pytest.raises(InputError, match=r"model.init_from = '.*damaged': .*model.safetensors"):
        build_network(from_folder(damaged), CATEGORIES)


def test_the_run_says_what_it_started_from(trained: Path) -> None:
    """And the weights of the backbone, which it does not need, are not fetched."""
    backbone = replace(TINY.backbone, weights="s3://bucket/without-a-hash.pth")
    config = replace(from_folder(trained), backbone=backbone)
    assert with_local_weights(config) == config
    facts = worker_facts(config, torch.device("cpu"))
    assert (facts["weights"], facts["weights_sha256"]) == (str(trained), digest(str(trained)))
