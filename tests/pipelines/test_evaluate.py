"""Evaluation: a model is only measured on data with its own categories."""

from __future__ import annotations

from pathlib import Path

import pytest

from aunet.config import AugmentConfig, FusionConfig
from aunet.errors import InputError
from aunet.model import build_model
from aunet.predictor import Predictor
from pipelines import presets
from pipelines.data.manifest import Manifest
from pipelines.measuring.share import measure_share
from pipelines.settings.overrides import override
from pipelines.settings.run_config import to_json
from pipelines.training.checkpoint import save_model
from tests.preparing import preprocess_here
from tests.tiny import CATEGORIES, TINY, with_attention


def test_other_categories_are_refused(raw: Path, tmp_path: Path) -> None:
    config = override(presets.camvid_small(), {"data.root": str(raw)})
    prepared = preprocess_here(config)
    model = build_model(TINY, CATEGORIES, load_weights=False)
    predictor = Predictor(model, TINY, CATEGORIES, AugmentConfig(short_sides=(64,)), FusionConfig())
    save_model(tmp_path / "model", model.state_dict(), predictor.settings())
    with pytest.raises(InputError, match=rf"{tmp_path}/model: the model's categories are not those of {prepared.uri}"):
        measure_share(to_json(config), str(tmp_path / "model"), prepared.uri, [0], [])


@pytest.mark.parametrize("attends", [True, False])
def test_shown_images_come_with_their_attention(raw: Path, tmp_path: Path, attends: bool) -> None:
    config = override(presets.camvid_small(), {"data.root": str(raw)})
    prepared = preprocess_here(config)
    network = TINY if attends else with_attention(TINY, pam=False, mam=False)
    categories = Manifest.load(prepared.uri).categories
    model = build_model(network, categories, load_weights=False)
    predictor = Predictor(model, network, categories, AugmentConfig(short_sides=(64,)), FusionConfig())
    save_model(tmp_path / "model", model.state_dict(), predictor.settings())
    measured, pictures = measure_share(to_json(config), str(tmp_path / "model"), prepared.uri, [0, 1], [0, 1])
    folders = ["attention", "overlays"] if attends else ["overlays"]
    assert sorted(pictures) == [f"{folder}/{n:012d}.png" for folder in folders for n in (1, 2)]
    assert set(measured.attention.compute()) == ({"pam2", "pam3", "pam4", "pam5", "mam"} if attends else set())
