"""Evaluation: a model is only measured on data with its own categories."""

from __future__ import annotations

from pathlib import Path

import pytest

from aunet.config import AugmentConfig, FusionConfig
from aunet.errors import InputError
from aunet.model import build_model
from aunet.predictor import Predictor
from pipelines import evaluate, preprocess, presets
from pipelines.checkpoint import save_model
from pipelines.config import to_json
from pipelines.overrides import override
from tests.tiny import CATEGORIES, TINY


def test_other_categories_are_refused(raw: Path, tmp_path: Path, in_process: None) -> None:
    config = override(presets.camvid_small(), {"data.root": str(raw)})
    prepared = preprocess.preprocess(config)
    model = build_model(TINY, CATEGORIES, load_weights=False)
    predictor = Predictor(model, TINY, CATEGORIES, AugmentConfig(short_sides=(64,)), FusionConfig())
    save_model(tmp_path / "model", model.state_dict(), predictor.settings())
    with pytest.raises(InputError, match=rf"{tmp_path}/model: the model's categories are not those of {prepared.uri}"):
        evaluate._measure_part(to_json(config), str(tmp_path / "model"), prepared.uri, [0], set())
