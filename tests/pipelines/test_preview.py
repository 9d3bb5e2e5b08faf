"""`preview`: what the page shows is what the training will see."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aunet.errors import InputError
from jobs.__main__ import main
from pipelines.data.ingest import sample_plan
from pipelines.data.shards import ShardReader
from pipelines.data.step_decoder import StepDecoder
from pipelines.presets import shapes_smoke
from pipelines.preview import Preview, preview
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from tests.browser import Visit, chromium
from tests.preparing import config_of, preprocess_here

SETTINGS = {"augment.crop": [64, 80], "augment.short_sides": [64], "train.batch_size": 2, "train.epochs": 40}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUNET_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def config_for(raw: Path, **changes: Any) -> RunConfig:
    start = override(shapes_smoke(), {**SETTINGS, **changes})
    return override(start, {"name": "mine", "data.shapes": None, **_data(raw), "register.model_name": "aunet-mine"})


def _data(raw: Path) -> dict[str, Any]:
    data = config_of(raw).data
    splits = {f"data.{name}.{key}": getattr(getattr(data, name), key) for name in ("train", "val") for key in KEYS}
    return {"data.root": data.root, **splits}


KEYS = ("images", "panoptic_json", "panoptic_dir")


def test_the_page(raw: Path, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    result = preview(config_for(raw), out=str(out), samples=7)
    text = out.read_text()
    assert (result.samples, result.steps, result.steps_per_epoch, result.warmup_steps) == (7, 100, 2.5, 100)
    assert text.count("data:image/jpeg;base64,") == 7 and len(text) < 3_000_000
    policy = re.search(r'Content-Security-Policy content="([^"]*)"', text)
    assert (
        policy
        and policy[1].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
        and "http" not in policy[1]
    )
    assert "<script" not in text and " style=" not in text
    for heading in ("Look at this first", "Training samples", "Sizes in evaluation", "Objects at", "Categories"):
        assert heading in text
    assert "80×64" in text and json.dumps(result.to_json())
    with chromium() as browser:
        visit = Visit(browser, out)
        assert visit.complaints == []


def test_the_samples_are_those_of_the_training(raw: Path, store: Path) -> None:
    config = config_for(raw)
    reader = ShardReader(preprocess_here(config).uri, "train")
    settings = (config.augment, config.model.background.thing_labels)
    whole = StepDecoder(reader, sample_plan(config, reader), reader.manifest.categories, *settings, 0, 1, 1)
    shared = StepDecoder(reader, sample_plan(config, reader), reader.manifest.categories, *settings, 1, 2, 2)
    for step in range(3):
        second = whole.samples(step)[1]
        batch = shared[step]
        assert [second.image_id] == [target.image_id for target in batch.targets]
        height, width = second.image.shape[:2]
        assert np.array_equal(batch.images[0].permute(1, 2, 0)[:height, :width].numpy(), second.image)


def test_no_ray_and_one_preparation(raw: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nobody answers there
    preview(config_for(raw), out=str(tmp_path / "page.html"))
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    preview(config_for(raw), out=str(tmp_path / "page.html"))
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.warmup_steps": 200}, "train.warmup_steps = 200: the run has 100 steps, so the learning rate never"),
        ({"train.warmup_steps": 50}, "train.warmup_steps = 50: 50% of the run's 100 steps"),
        (
            {"augment.short_sides": [32], "augment.max_size": 32},
            r"objects are smaller than 4 pixels in the network; use",
        ),
        ({"augment.crop": [8, 8]}, r"augment.crop = \(8, 8\): half of the objects have more than"),
    ],
)
def test_it_warns(raw: Path, store: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    result = preview(
        config_for(raw, **{"train.warmup_steps": 5, **changes}), out=str(tmp_path / "page.html"), samples=1
    )
    assert [line for line in result.warnings if re.search(message, line)], result.warnings


def test_categories_without_a_segment_are_told(raw: Path, store: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        path = raw / f"annotations/panoptic_{split}.json"
        document = json.loads(path.read_text())
        document["categories"].append({"id": 99, "name": "<b>unicorn</b>", "isthing": 1})
        path.write_text(json.dumps(document))
    result = preview(config_for(raw), out=str(tmp_path / "page.html"), samples=1)
    (line,) = [line for line in result.warnings if "no segment to learn from" in line]
    assert "<b>unicorn</b>" in line
    assert "<b>unicorn" not in (text := (tmp_path / "page.html").read_text()) and "&lt;b&gt;unicorn" in text


def test_a_page_stays_small_however_large_the_crop(raw: Path, store: Path, tmp_path: Path) -> None:
    big = config_for(raw, **{"augment.crop": [1024, 2048], "augment.short_sides": [1024], "augment.max_size": 2048})
    preview(big, out=str(tmp_path / "page.html"), samples=3)
    assert (tmp_path / "page.html").stat().st_size < 3_000_000


@pytest.mark.parametrize("samples", [0, -1, 49])
def test_a_number_of_samples_out_of_range_is_one_line(raw: Path, samples: int) -> None:
    with pytest.raises(InputError, match=rf"--samples = {samples}: use 1 … 48"):
        preview(config_for(raw), samples=samples)


def test_the_command_line(raw: Path, store: Path, tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = []

    def noted(config: RunConfig, **options: Any) -> Preview:
        calls.append(options)
        return preview(config_for(raw), out=str(tmp_path / "page.html"), samples=1)

    out = io.StringIO()
    assert main(["preview", "shapes_smoke", "--samples", "3", "--train.epochs", "2"], out, function=noted) == 0
    assert calls == [{"out": None, "samples": 3}]
    assert json.loads(out.getvalue().splitlines()[-1])["uri"] == str(tmp_path / "page.html")
