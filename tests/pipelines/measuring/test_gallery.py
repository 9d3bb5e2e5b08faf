"""The pictures of a report, from prepared data and a small network."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from aunet.config import AugmentConfig, FusionConfig
from aunet.data.shapes import CATEGORIES, write_scenes
from aunet.model import build_model
from aunet.predictor import Predictor
from pipelines import presets
from pipelines.data.shards import ShardReader
from pipelines.measuring.data_card import data_card
from pipelines.measuring.gallery import NUM_ATTENTION, NUM_OVERLAYS, draw_gallery
from pipelines.pages.picks import Pick
from pipelines.settings.overrides import override
from pipelines.store.artifacts import PreparedData
from tests.preparing import preprocess_here
from tests.threshold import Threshold
from tests.tiny import TINY

IMAGES = 8


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("gallery")
    write_scenes(folder / "raw", num_train=2, num_val=IMAGES, height=64, width=96)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUNET_STORE", str(folder / "store"))
        return preprocess_here(override(presets.camvid_small(), {"data.root": str(folder / "raw")}))


def test_a_network_is_asked_with_and_without_attention(prepared: PreparedData) -> None:
    torch.manual_seed(0)
    augment = AugmentConfig(short_sides=(64,), max_size=128)
    predictor = Predictor(build_model(TINY, CATEGORIES), TINY, CATEGORIES, augment, FusionConfig(stuff_area=0))
    reader = ShardReader(prepared.uri, "val")
    drawn = draw_gallery(predictor, reader, [Pick(reader.image_ids[5], 30.0, 2.0), Pick(reader.image_ids[1], None)])
    one, other = drawn["items"]
    assert (one["image_id"], other["image_id"]) == (reader.image_ids[5], reader.image_ids[1])
    assert (one["width"], one["height"], one["pq"], one["change"]) == (96, 64, 30.0, 2.0)
    assert list(one["ranges"]) == ["pam2", "pam3", "pam4", "pam5", "mam"]
    maps = set(one["ranges"])
    assert set(one["layers"]) == {"truth", "prediction", "errors", "unguided", "unguided_errors"} | maps
    assert one["unguided_pq"] is not None and one["moved"] is not None
    names = [f"{folder}/{reader.image_ids[n]:012d}.png" for n in (5, 1) for folder in ("overlays", "attention")]
    assert sorted(drawn["pictures"]) == sorted(names)
    assert all(Image.open(io.BytesIO(content)).format == "PNG" for content in drawn["pictures"].values())


def test_few_pictures_are_files_of_their_own(prepared: PreparedData) -> None:
    reader = ShardReader(prepared.uri, "val")
    predictor: Predictor = Threshold()  # type: ignore[assignment]
    drawn = draw_gallery(predictor, reader, [Pick(image, None) for image in reader.image_ids])
    assert len(drawn["items"]) == IMAGES and "unguided" not in drawn["items"][0]["layers"]
    folders = [name.partition("/")[0] for name in drawn["pictures"]]
    assert folders.count("overlays") == NUM_OVERLAYS and folders.count("attention") == NUM_ATTENTION


def test_the_data_card_counts_what_was_prepared(prepared: PreparedData) -> None:
    card = data_card(prepared.uri)
    assert (card["fingerprint"], card["categories"]) == (prepared.fingerprint, len(CATEGORIES))
    val = card["splits"]["val"]
    assert (val["images"], val["quarantined"], val["sizes"], val["num_sizes"]) == (IMAGES, 0, [[96, 64, IMAGES]], 1)
    reader = ShardReader(prepared.uri, "val")
    assert sum(val["segments"]) == sum(len(reader.row(n)["segments"]) for n in range(IMAGES)) > 0
    assert Path(prepared.uri).exists()
