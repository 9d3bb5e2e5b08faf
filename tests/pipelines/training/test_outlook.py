"""What a training needs: the sum by hand, whether it fits, and whether weights would have to be divided."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from aunet.data.shapes import CATEGORIES
from benchmarks.machine import RESULTS
from benchmarks.memory import BAR
from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.training.gpus import GPUS, UTILISATION
from pipelines.training.outlook import input_size, pass_costs, predict, sharding, too_large


def on_gpus(config: RunConfig, **changes: Any) -> RunConfig:
    return override(config, {"train.use_gpu": True, **{name.replace("__", "."): v for name, v in changes.items()}})


def test_sizes_are_the_largest_padded_ones() -> None:
    assert input_size(presets.coco_r50().augment) == (608, 1024)
    assert input_size(presets.cityscapes_r50().augment) == (512, 1024)
    assert input_size(presets.coco_r50_plus().augment) == (800, 1344)


def test_memory_is_the_sum_of_what_holds_it() -> None:
    config = presets.shapes_smoke()
    costs, memory = pass_costs(config, CATEGORIES), predict(config, CATEGORIES, None).memory
    assert (memory.weights, memory.average) == (costs.weights, costs.weights)
    assert (memory.optimizer, memory.buckets) == (2 * costs.trained, costs.trained)  # AdamW, two workers
    assert memory.snapshot == 2 * costs.weights + 2 * costs.trained
    assert memory.total == sum(dataclasses.astuple(memory)) and memory.passes == costs.peak
    alone = predict(override(config, {"train.num_workers": 1, "train.ema": None}), CATEGORIES, None).memory
    assert (alone.average, alone.buckets) == (0, 0)
    on_gpu = predict(on_gpus(config), CATEGORIES, "T4").memory
    assert on_gpu.snapshot == on_gpu.heap == 0


def test_the_prediction_is_close_to_what_was_measured() -> None:
    measured = json.loads((RESULTS / "memory.json").read_text())["GB"]
    assert len(measured) >= 3
    assert all(abs(row["error"]) <= BAR for row in measured.values())


def test_what_does_not_fit_is_refused_with_the_arithmetic() -> None:
    config = on_gpus(presets.coco_r50(), train__num_workers=1, train__micro_batch_size=16, train__precision="fp32")
    refusal = too_large(config, predict(config, CATEGORIES, "T4"))
    assert refusal is not None
    assert "16 × 608 × 1024 pixels needs weights 0.1" in refusal and "but the GPU has 16 GB" in refusal
    assert "use --train.micro_batch_size 8, a smaller augment.max_size" in refusal
    assert too_large(config, predict(config, CATEGORIES, "A100-SXM4-80GB")) is None
    assert too_large(config, predict(config, CATEGORIES, None)) is None  # unknown
    smaller = on_gpus(config, train__micro_batch_size=1)
    assert too_large(smaller, predict(smaller, CATEGORIES, "T4")) is None


def test_time_is_estimated_from_the_peak_of_the_gpu() -> None:
    config = on_gpus(presets.shapes_smoke(), train__num_workers=1, train__micro_batch_size=8)
    prediction = predict(config, CATEGORIES, "T4")
    flops = 2 * pass_costs(config, CATEGORIES).flops
    assert prediction.step_s == pytest.approx(flops / (UTILISATION * GPUS["T4"].flops))
    assert predict(presets.shapes_smoke(), CATEGORIES, "T4").step_s is None  # trains on CPUs


def test_the_largest_preset_needs_no_sharding_on_the_smallest_gpu() -> None:
    prediction = predict(presets.coco_x152(), CATEGORIES, "T4")
    text = sharding(prediction)
    assert "sharding them (FSDP2) would gain little" in text and "11% of its memory" in text
    assert too_large(presets.coco_x152(), prediction) is None
