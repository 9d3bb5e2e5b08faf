"""Raw folders as configurations, and what preprocessing made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.data.shard_writer import write_shard
from pipelines.preprocess import preprocess
from pipelines.settings.run_config import DataConfig, RunConfig, SplitConfig
from pipelines.store.artifacts import PreparedData


def config_of(root: str | Path, train: str = "train", val: str = "val", **options: Any) -> RunConfig:
    splits = {
        key: SplitConfig(
            images=name, panoptic_json=f"annotations/panoptic_{name}.json", panoptic_dir=f"annotations/panoptic_{name}"
        )
        for key, name in (("train", train), ("val", val))
    }
    return RunConfig(name="test", data=DataConfig(root=str(root), **{**splits, **options}))


def contents(folder: str | Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def preprocess_here(config: RunConfig) -> PreparedData:
    """`preprocess`, its tasks one after the other in this process, without Ray."""
    return preprocess(config, run_tasks=lambda tasks: [write_shard(task) for task in tasks])
