"""`plan`: what `run` would do, what it needs, and what cannot run; nothing is written and no work is done."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from aunet.errors import InputError, Refused, Unavailable
from pipelines import evaluate, preprocess, train
from pipelines.preprocess import PreprocessOutlook
from pipelines.runtime.cluster import check_address, is_job_server, missing_workers, ray_address, resources
from pipelines.settings.run_config import RunConfig, fingerprint, to_json
from pipelines.store.artifacts import Outlook, TrainedRun, VerbResult
from pipelines.store.layout import Store
from pipelines.store.run_folder import RunFolder
from pipelines.study.search import concurrency
from pipelines.tracking.address import check_tracking
from pipelines.training.identity import num_steps, run_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(VerbResult):
    """What `run` would do."""

    stages: list[dict[str, str]]
    """stage, action (run, resume or skip) and why."""
    batch: dict[str, int]
    """What the images of a step multiply to: workers × images of a forward pass × passes accumulated."""
    steps: dict[str, int | None]
    """total, left; None: unknown."""
    peak_memory_gb: float | None
    """Per worker, as is `hours` measured in an earlier run of the same network, input and workers; None: unknown."""
    hours: float | None
    cost: float | None
    """hours × price."""
    refused: list[str]
    """Why it cannot run."""
    resources: dict[str, Any]
    notes: list[str]
    plan_hash: str
    """Equal plans, equal hash."""

    @property
    def exit_code(self) -> int:
        """3 where the plan is refused."""
        return 3 if self.refused else 0


def plan(config: RunConfig, *, price: float | None = None) -> Plan:
    """Find out what `run` would do with this configuration.

    Args:
        price: of one hour of the whole cluster, in any currency.

    Raises:
        InputError: the price is not one.
    """
    if price is not None and not (math.isfinite(price) and price >= 0):
        raise InputError(f"--price = {price}: not the price of an hour; use 0 or more")
    refused: list[str] = []
    try:
        check_tracking()
    except InputError as error:
        refused += error.problems
    data = preprocess.outlook(config)
    refused += data.problems
    training = train.outlook(config, data.prepared)
    stages = [data, training, *_later_stages(config, data, refused)]
    available = _resources(refused)
    refused += _obstacles(config, data.num_images, available)
    total = num_steps(config, data.num_images) if data.num_images else None
    left = None if total is None else 0 if training.action == "skip" else total - training.steps_done
    measured = _measured(config)
    hours = 0.0 if left == 0 else None
    if measured and left:
        hours = left * config.train.batch_size / measured.images_per_s / 3600
    notes = [_describe(measured)]
    if price is not None and hours is None:
        notes.append("cost: unknown, as the hours are")
    outlooks = [{"stage": stage.stage, "action": stage.action, "why": stage.why} for stage in stages]
    result = Plan(
        stages=outlooks,
        batch=_batch(config),
        steps={"total": total, "left": left},
        peak_memory_gb=measured.memory_gb if measured else None,
        hours=hours,
        cost=None if price is None or hours is None else hours * price,
        refused=refused,
        resources=available,
        notes=notes,
        plan_hash=fingerprint(outlooks, config, data.source_fingerprint, available),
    )
    _show(config, result)
    return result


def _later_stages(config: RunConfig, data: PreprocessOutlook, refused: list[str]) -> list[Outlook]:
    """What comes after the training."""
    run = run_folder(config, data.prepared).trained() if data.prepared else None
    evaluation = evaluate.outlook(config, run, data.prepared)
    return [evaluation, _registration(config, run, evaluation, refused)]


def _registration(config: RunConfig, run: TrainedRun | None, evaluation: Outlook, refused: list[str]) -> Outlook:
    if run is None or evaluation.action != "skip":
        return Outlook(stage="register", action="run", why="there is no report yet")
    from pipelines import register  # MLflow takes seconds to import: only where there is something to ask

    try:
        return register.outlook(config, run, evaluate.find_report(run))
    except Unavailable as error:
        refused.append(str(error))
        return Outlook(stage="register", action="run", why="MLflow does not answer")


def _batch(config: RunConfig) -> dict[str, int]:
    train = config.train
    workers, passes = train.num_workers, train.accumulate
    at_once = train.batch_size // (workers * passes)
    return {"images": train.batch_size, "workers": workers, "at_once": at_once, "accumulate": passes}


def _resources(refused: list[str]) -> dict[str, Any]:
    where = "RAY_ADDRESS"
    try:
        where = ray_address() or "this machine"
        if is_job_server(where):
            check_address(where)
            return {"where": where}
        return {"where": where, **resources()}
    except (InputError, Unavailable) as error:
        refused.append(str(error))
        return {"where": where}


def _obstacles(config: RunConfig, num_images: int, available: dict[str, Any]) -> Iterator[str]:
    """Why the configuration cannot run on these resources, or with that many training images (0: unknown)."""
    train = config.train
    if "CPU" in available:
        if missing := missing_workers(train, config.feed, available):
            yield missing
        try:
            concurrency(config, available)
        except Refused as refusal:
            yield f"tune: {refusal}"
    if num_images and train.batch_size > num_images * train.epochs:
        yield (
            f"train.batch_size = {train.batch_size}: {num_images} images × {train.epochs} epochs do not fill one "
            "batch; use a smaller batch or more epochs"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """How fast an earlier run was, and how much memory it needed."""

    run: str
    step: int
    images_per_s: float
    memory_gb: float


def _measured(config: RunConfig) -> _Measured | None:
    """The longest run that computed the same; None: there is none."""
    wanted = _cost_factors(to_json(config))
    runs = (folder for folder in Store.here().runs() if folder.name.startswith(f"{config.name}-"))
    measured = [m for folder in runs if (m := _measured_in(folder, wanted))]
    return max(measured, key=lambda run: run.step, default=None)


def _measured_in(folder: RunFolder, wanted: Any) -> _Measured | None:
    plain = folder.config()
    if plain is None or _cost_factors(plain) != wanted:
        return None
    steps = [event for event in folder.events() if event["kind"] == "step"]
    if not steps:
        return None
    return _Measured(
        run=folder.name,
        step=steps[-1]["step"],
        images_per_s=steps[-1]["images_per_s"],
        memory_gb=max(event["memory_gb"] for event in steps),
    )


def _cost_factors(plain: dict[str, Any]) -> Any:
    """The settings that time and memory of a step depend on."""
    names = "num_workers", "use_gpu", "batch_size", "micro_batch_size", "precision", "compile"
    return [plain["model"], plain["augment"], [plain["train"].get(name) for name in names], plain.get("feed")]


def _describe(measured: _Measured | None) -> str:
    if measured is None:
        return "hours and memory: unknown, no earlier run of this network, input and workers in the store"
    return (
        f"hours and memory: as measured in {measured.run}: {measured.images_per_s:.1f} images per second; hours are "
        "those of training alone"
    )


def _show(config: RunConfig, result: Plan) -> None:
    """The plan as a table for people."""
    console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
    table = Table("stage", "", title=f"plan · {config.name} · {result.plan_hash}", title_justify="left")
    table.add_column("why", overflow="fold")
    for stage in result.stages:
        table.add_row(stage["stage"], stage["action"], stage["why"])
    console.print(table)
    for name, value in _known_figures(result):
        console.print(f"{name:>12}  {value}")
    for line in [*result.notes, *(f"refused: {reason}" for reason in result.refused)]:
        console.print(line, style="bold red" if line.startswith("refused") else None, markup=False)


def _known_figures(result: Plan) -> Iterator[tuple[str, str]]:
    batch = "{images} images = {workers} workers × {at_once} at once × {accumulate} accumulated"
    yield "batch", batch.format(**result.batch)
    if result.steps["total"] is not None:
        yield "steps", f"{result.steps['left']} of {result.steps['total']} are left"
    if result.hours is not None:
        yield "hours", f"{result.hours:.2f}"
    if result.peak_memory_gb is not None:
        yield "memory", f"{result.peak_memory_gb:.1f} GB per worker"
    if result.cost is not None:
        yield "cost", f"{result.cost:.2f}"
    if "CPU" in result.resources:
        machine = result.resources
        yield "resources", f"{machine['CPU']} CPUs · {machine['GPU']} GPUs on {machine['where']}"
