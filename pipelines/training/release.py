"""From the checkpoints of a run to its model: which of them is released, and the folder that `Predictor` reads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipelines.data.manifest import Manifest
from pipelines.data.sample_plan import fixed_choice
from pipelines.data.shards import ShardReader
from pipelines.measuring.measurement import measure
from pipelines.measuring.models import load_predictor
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store import storage
from pipelines.store.checkpoints import Checkpoint
from pipelines.store.hashes import upload_hashed
from pipelines.training.checkpoint import save_model, stored_state


def released(config: RunConfig, checkpoints: Sequence[Checkpoint], quality: Mapping[int, float]) -> Checkpoint:
    """The checkpoint that becomes the model.

    Args:
        checkpoints: those that are whole, the newest last.
        quality: PQ by step.
    """
    measured = [checkpoint for checkpoint in checkpoints if checkpoint.step in quality]
    if config.train.release == "best" and measured:
        return max(measured, key=lambda checkpoint: quality[checkpoint.step])
    return checkpoints[-1]


def publish(
    config: RunConfig, prepared_uri: str, checkpoint: Checkpoint, model_uri: str, check: Callable[[], object]
) -> None:
    """Write the model folder of a checkpoint; what a killed publication has left there is replaced.

    Args:
        check: raises where somebody else has taken the run over, whose model that may be.

    Raises:
        InputError: the checkpoint is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_model(config, prepared_uri, checkpoint, Path(folder))
        check()
        storage.delete(model_uri)
        upload_hashed(Path(folder), model_uri)


def write_model(config: RunConfig, prepared_uri: str, checkpoint: Checkpoint, folder: Path) -> None:
    """Write what `Predictor.from_folder` reads: the weights of a checkpoint, averaged ones where there are any."""
    settings = {
        "model": to_json(config.model),
        "augment": to_json(config.augment),
        "fusion": to_json(config.fusion),
        "categories": Manifest.load(prepared_uri).categories.to_json(),
        "run": to_json(config),
    }
    _, state = stored_state(checkpoint)
    averaged, prefix = state["average"] or {}, "module."
    weights = {name.removeprefix(prefix): t for name, t in averaged.items() if name.startswith(prefix)}
    save_model(folder, weights or state["model"], settings)


def measure_checkpoint(config: RunConfig, prepared_uri: str, checkpoint: Checkpoint) -> dict[str, float]:
    """The metrics of a checkpoint on those validation images that its run is measured on."""
    with tempfile.TemporaryDirectory() as folder:
        write_model(config, prepared_uri, checkpoint, Path(folder))
        predictor = load_predictor(folder, config)
    reader = ShardReader(prepared_uri, "val")
    return measure(predictor, reader, fixed_choice(len(reader), config.train.val_images)).metrics()
