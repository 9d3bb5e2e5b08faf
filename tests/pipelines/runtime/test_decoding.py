"""CPUs that decode beside GPUs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines import presets
from pipelines.presets import PRESETS
from pipelines.runtime.decoding import cpus_of_worker, few_cpus
from pipelines.settings.run_config import FeedConfig, TrainConfig

BESIDE = FeedConfig(workers=3)


@pytest.mark.parametrize(
    ("train", "feed", "cpus", "cure"),
    [
        (TrainConfig(), BESIDE, 32, None),
        (TrainConfig(), BESIDE, 31, "--feed.workers 2"),
        (TrainConfig(), BESIDE, 4, "--feed.workers 0"),
        (TrainConfig(use_gpu=False), BESIDE, 8, None),
        (TrainConfig(), FeedConfig(workers=0), 4, None),
        (TrainConfig(), FeedConfig(kind="ray", workers=3), 4, None),
    ],
)
def test_gpus_that_would_wait_for_images(train: TrainConfig, feed: FeedConfig, cpus: int, cure: str | None) -> None:
    text = few_cpus(train, feed, 8, cpus, "a node has")
    assert (text is None) == (cure is None) and (cure or "") in (text or "")


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset().train.use_gpu])
def test_presets_for_gpus_decode_beside_them_with_the_cpus_of_their_nodes(name: str) -> None:
    config = PRESETS[name]()
    assert cpus_of_worker(config.feed) > 1
    assert few_cpus(config.train, config.feed, config.cluster.gpus_per_node, config.cluster.cpus_per_node, "") is None


def test_presets_for_cpus_decode_in_the_training_process() -> None:
    assert presets.shapes_smoke().feed == FeedConfig() == replace(presets.camvid_small()).feed
