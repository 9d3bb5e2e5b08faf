"""What Ray sends to the workers of a training run. Whoever receives it imports this file, and nothing that is heavy."""

from __future__ import annotations

from typing import Any

from aunet.errors import InputError
from pipelines.runtime.interruption import NotSaved
from pipelines.settings.run_config import RunConfig
from pipelines.store.checkpoints import Checkpoint


def work(settings: dict[str, Any]) -> None:
    """Run a `Worker`, imported here: Ray's controller, which receives this too, needs no network.

    Args:
        settings: `assignment`, `board`, and whether it `is_alone`: the only worker, outside of Ray Train.
    """
    import ray.train

    from pipelines.runtime.board import BoardLink

    is_alone = settings["is_alone"]
    rank = 0 if is_alone else ray.train.get_context().get_world_rank()
    reserved = None if is_alone else ray.util.get_current_placement_group()
    reservation = reserved.id.hex() if reserved else ""
    link = BoardLink(settings["board"], rank, ray.get_runtime_context().get_node_id(), reservation)
    try:
        from pipelines.training.group import Group
        from pipelines.training.worker import Worker

        Worker(settings["assignment"], Group.alone() if is_alone else Group.of_ray(), link).run()
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:1000]}"
        passes = isinstance(error, NotSaved)  # which was patient enough by itself
        is_final = passes or isinstance(error, InputError | FloatingPointError)
        event = {"kind": "failure", "step": link.step, "rank": rank, "error": text, "final": is_final, "passes": passes}
        link.post(event)
        raise
    finally:
        link.close()


def measure_checkpoint(config: RunConfig, prepared_uri: str, checkpoint: Checkpoint) -> dict[str, float]:
    """Run `release.measure_checkpoint`, imported in the task."""
    from pipelines.training import release

    return release.measure_checkpoint(config, prepared_uri, checkpoint)
