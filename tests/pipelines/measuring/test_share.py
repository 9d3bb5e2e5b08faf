"""Tasks of an evaluation: whoever measures them, in whatever order, together they are the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aunet.config import AugmentConfig, FusionConfig
from aunet.data.shapes import write_scenes
from aunet.errors import InputError
from aunet.model import build_model
from aunet.predictor import Predictor
from pipelines import presets
from pipelines.measuring.evaluation import Evaluation
from pipelines.measuring.measurement import Measurement, measure
from pipelines.measuring.models import load_predictor
from pipelines.measuring.outcome_table import to_parquet
from pipelines.measuring.share import Share
from pipelines.settings.overrides import override
from pipelines.settings.run_config import to_json
from pipelines.store.artifacts import PreparedData
from pipelines.store.parts import Parts
from pipelines.training.checkpoint import save_model
from tests import threshold
from tests.preparing import preprocess_here
from tests.tiny import CATEGORIES, TINY

IMAGES, TASK_IMAGES = 10, 4


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("share")
    write_scenes(folder / "raw", num_train=1, num_val=IMAGES, height=48, width=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUNET_STORE", str(folder / "store"))
        return preprocess_here(override(presets.camvid_small(), {"data.root": str(folder / "raw")}))


def share_of(prepared: PreparedData, folder: Path, **options: Any) -> Share:
    defaults = {"load": threshold.load, "model_uri": "no model", "task_images": TASK_IMAGES}
    return Share(
        settings=to_json(presets.camvid_small()),
        prepared_uri=prepared.uri,
        parts=Parts(str(folder / "parts")),
        **{**defaults, **options},
    )


def combined(share: Share) -> Evaluation:
    return Evaluation(**share.combine())


def test_tasks_are_the_whole_whoever_measures_them(prepared: PreparedData, tmp_path: Path) -> None:
    evaluations = []
    for number, order in enumerate([[0, 1, 2], [2, 0, 1]]):
        shares = [share_of(prepared, tmp_path / str(number)) for _ in range(number + 1)]
        images = [shares[n % len(shares)].measure(task) for n, task in enumerate(order)]
        assert sum(images) == IMAGES
        evaluations.append(combined(shares[0]))
    one, other = evaluations
    assert one.number_formats == ["fp32"]
    assert one.metrics == other.metrics and one.per_class == other.per_class and one.attention == other.attention
    assert to_parquet(one.outcomes, one.tags, one.categories) == to_parquet(other.outcomes, other.tags, one.categories)
    assert 0 < one.metrics["PQ"] < 100 and 0 < one.metrics["mIoU"] < 100
    share = share_of(prepared, tmp_path)
    undivided = measure(share.batches.predictor, share.reader, range(IMAGES))
    assert one.metrics == pytest.approx(undivided.metrics())
    image_id = share.reader.image_ids[0]
    assert one.tags[image_id] == {"file_name": share.reader.file_names[0], "height": "48", "width": "64"}


def test_parts_hold_everything(prepared: PreparedData, tmp_path: Path) -> None:
    share = share_of(prepared, tmp_path)
    measurement = measure(share.batches.predictor, share.reader, range(4))
    share.parts.write(0, measurement.to_plain())
    again = Measurement.from_plain(measurement.categories, share.parts.read(0))
    assert again.metrics() == measurement.metrics() and again.per_class() == measurement.per_class()
    assert again.attention.compute() == measurement.attention.compute()


def test_a_missing_task_is_not_passed_over(prepared: PreparedData, tmp_path: Path) -> None:
    share = share_of(prepared, tmp_path)
    for task in (0, 2):
        share.measure(task)
    with pytest.raises(InputError, match=r"000001\.json\.gz: this part is missing; run `evaluate`"):
        share.combine()
    assert share.parts.finished() == {0, 2}


def test_a_task_that_was_measured_twice_is_noticed(prepared: PreparedData, tmp_path: Path) -> None:
    share = share_of(prepared, tmp_path)
    for task in range(3):
        share.measure(task)
    share.parts.write(1, share.parts.read(0))
    with pytest.raises(InputError, match="is evaluated twice"):
        share.combine()


def test_images_of_another_split_are_noticed(prepared: PreparedData, tmp_path: Path) -> None:
    share = share_of(prepared, tmp_path)
    for task in range(3):
        share.measure(task)
    plain = share.parts.read(2)
    outcomes = plain["outcomes"]
    for name in ("images", "image_id"):
        outcomes[name] = (np.array(outcomes[name]) + 1000).tolist()
    share.parts.write(2, plain)
    with pytest.raises(InputError, match=r"what was measured are not the images of .*; delete this folder"):
        share.combine()


def test_other_categories_are_refused(prepared: PreparedData, tmp_path: Path) -> None:
    model = build_model(TINY, CATEGORIES, load_weights=False)
    predictor = Predictor(model, TINY, CATEGORIES, AugmentConfig(short_sides=(64,)), FusionConfig())
    save_model(tmp_path / "model", model.state_dict(), predictor.settings())
    share = share_of(prepared, tmp_path, model_uri=str(tmp_path / "model"), load=load_predictor)
    with pytest.raises(InputError, match=rf"{tmp_path}/model: the model's categories are not those of {prepared.uri}"):
        share.measure(0)
