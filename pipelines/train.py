"""`train`: prepared data → a run with checkpoints and a model. The same command resumes where it was stopped."""

from __future__ import annotations

from dataclasses import dataclass

from aunet.errors import InputError
from pipelines.measuring.released import released_sections
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store.artifacts import Outlook, PreparedData, TrainedRun
from pipelines.store.run_folder import RunFolder
from pipelines.training.identity import run_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOutlook(Outlook):
    """What `train` would do."""

    steps_done: int = 0
    """Of a run that would be resumed."""


def train(config: RunConfig, prepared: PreparedData) -> TrainedRun:
    """Train to the end of the plan, from the newest checkpoint of the same run where there is one.

    Raises:
        InputError: the cluster has fewer CPUs or GPUs than the run needs, or a worker found what it would find again.
        Unavailable: workers were lost again and again, or the cluster was.
        Preempted: this process received SIGTERM, and saved what it had.
    """
    folder = run_folder(config, prepared)
    if finished := folder.trained():
        _check_fusion(config, folder)
        return finished
    from pipelines.training.driver import train_run  # a finished run needs no Ray, torch or MLflow

    return train_run(config, prepared)


def _check_fusion(config: RunConfig, folder: RunFolder) -> None:
    """Check that a finished run's model has this fusion, which names no run, and in a model's folder cannot change.

    Raises:
        InputError: it has another, so that `evaluate` would measure what is not released.
    """
    released = to_json(released_sections(folder)[1])
    for name, wanted in to_json(config.fusion).items():
        if wanted != released[name]:
            raise InputError(
                f"fusion.{name} = {wanted}: the finished run {folder.uri} has a model with {released[name]}; "
                "`evaluate` with --run and this setting shows what it does, --version TEXT trains a run that has it"
            )


def find_run(folder: RunFolder) -> TrainedRun:
    """The artifact of a finished run.

    Raises:
        InputError: it is not finished.
    """
    if (run := folder.trained()) is None:
        name = folder.artifact_uri.rpartition("/")[2]
        raise InputError(
            f"--run {folder.uri}: no finished run there ({name} is missing); train it first or name another"
        )
    return run


def outlook(config: RunConfig, prepared: PreparedData | None) -> TrainOutlook:
    """What `train` would do; None: the data is not prepared yet."""
    if prepared is None:
        return TrainOutlook(stage="train", action="run", why="its data is not prepared yet")
    folder = run_folder(config, prepared)
    if folder.trained():
        return TrainOutlook(stage="train", action="skip", why=f"{folder.uri} is finished")
    if checkpoints := folder.checkpoints.complete():
        step = checkpoints[-1].step
        why = f"{folder.uri} has a checkpoint of step {step}"
        return TrainOutlook(stage="train", action="resume", why=why, steps_done=step)
    return TrainOutlook(stage="train", action="run", why=f"{folder.uri} has no checkpoint")
