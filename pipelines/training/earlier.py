"""What an earlier run of the same computation measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from pipelines.runtime.events import Event
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store.layout import Store
from pipelines.store.run_folder import RunFolder
from pipelines.training.scaling import Saving, estimated_saving


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierRun:
    """How fast a run was, and how much memory it needed."""

    name: str
    step: int
    """The last that it logged."""
    images_per_s: float
    memory_gb: float
    """Of a worker."""
    events: Sequence[Event]

    def saving(self, state_bytes: int) -> Saving:
        """What its checkpoints and failures cost; estimated for a state of so many bytes where it had none."""
        guess = estimated_saving(state_bytes)
        steps = [event for event in self.events if event["kind"] == "step"]
        stalls = sum(
            (later["step"] - earlier["step"]) * later.get("checkpoint_ms", 0.0) / 1000
            for earlier, later in pairwise(({"step": 0}, *steps))
        )
        written = [event["seconds"] for event in self.events if event["kind"] == "checkpoint" and "seconds" in event]
        restarts = self._restarts()
        return Saving(
            stall_s=stalls / len(written) if written and stalls else guess.stall_s,
            write_s=median(written) if written else guess.write_s,
            restart_s=median(restarts) if restarts else guess.restart_s,
        )

    def _restarts(self) -> list[float]:
        """Seconds from each failure to the next step."""
        failed, seconds = None, []
        for event in self.events:
            if event["kind"] == "failure" and failed is None:
                failed = event.get("at")
            elif event["kind"] == "step" and failed is not None:
                seconds.append(event["at"] - failed)
                failed = None
        return seconds


def earlier_run(config: RunConfig) -> EarlierRun | None:
    """The longest run of this name, network, input and workers; None: there is none."""
    wanted = _cost_factors(to_json(config))
    runs = (folder for folder in Store.here().runs() if folder.name.startswith(f"{config.name}-"))
    measured = [run for folder in runs if (run := _read(folder, wanted))]
    return max(measured, key=lambda run: run.step, default=None)


def _read(folder: RunFolder, wanted: Any) -> EarlierRun | None:
    plain = folder.config()
    if plain is None or _cost_factors(plain) != wanted:
        return None
    events = folder.history.events()
    steps = [event for event in events if event["kind"] == "step"]
    if not steps:
        return None
    return EarlierRun(
        name=folder.name,
        step=steps[-1]["step"],
        images_per_s=steps[-1]["images_per_s"],
        memory_gb=max(event["memory_gb"] for event in steps),
        events=events,
    )


def _cost_factors(plain: dict[str, Any]) -> Any:
    """The settings that time and memory of a step depend on."""
    names = "num_workers", "use_gpu", "batch_size", "micro_batch_size", "precision", "compile"
    return [plain["model"], plain["augment"], [plain["train"].get(name) for name in names], plain.get("feed")]
