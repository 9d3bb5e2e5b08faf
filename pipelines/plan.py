"""`plan`: what `run` would do, what it needs, and what cannot run; nothing is written and no work is done."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from aunet.errors import InputError, Refused
from pipelines import storage
from pipelines.artifacts import PreparedData
from pipelines.checkpoint import SNAPSHOT
from pipelines.cluster import check_address, is_job_server, missing_workers, resources
from pipelines.config import RunConfig, fingerprint, to_json


@dataclass(frozen=True)
class Stage:
    """One stage of `run`, and what would become of it."""

    stage: str
    action: str
    """run, resume or skip"""
    why: str


@dataclass(frozen=True)
class Data:
    """What is known of the data before anything is done with it."""

    images: int
    """Of the training split; 0: unknown."""
    fingerprint: str
    prepared: PreparedData | None


def plan(config: RunConfig, *, price: float | None = None) -> dict[str, Any]:
    """Find out what `run` would do with this configuration.

    Args:
        price: of one hour of the whole cluster, in any currency.

    Returns:
        `stages` (stage, action, why), `batch` (what the images of a step multiply to: workers × images of a forward
        pass × passes accumulated), `steps` (total, left), `peak_memory_gb` and `hours` as measured in an earlier
        run of the same network, input and workers (null: there is none), `cost` (hours × price), `refused` (why it
        cannot run; the exit code is 3 then), `resources`, `notes` and `plan_hash`: equal plans, equal hash.
    """
    refused: list[str] = []
    first, data = _preprocess(config, refused)
    train, done = _train(config, data)
    stages = [first, train, *_rest(config, data, train, refused)]
    there = _resources(refused)
    refused += _cannot_run(config, data, there)
    total = _num_steps(config, data.images) if data.images else None
    left = None if total is None else 0 if train.action == "skip" else total - done
    measured, where = _measured(config)
    hours = 0.0 if left == 0 else None
    if measured and left:
        hours = left * config.train.batch_size / measured["images_per_s"] / 3600
    notes = [f"hours and memory: {where}; hours are those of training alone"] if measured else [where]
    if price is not None and hours is None:
        notes.append("cost: unknown, as the hours are")
    result: dict[str, Any] = {
        "stages": [asdict(stage) for stage in stages],
        "batch": _batch(config),
        "steps": {"total": total, "left": left},
        "peak_memory_gb": measured["memory_gb"] if measured else None,
        "hours": hours,
        "cost": None if price is None or hours is None else hours * price,
        "refused": refused,
        "resources": there,
        "notes": notes,
        "plan_hash": fingerprint([asdict(stage) for stage in stages], config, data.fingerprint, there),
    }
    _show(config, result)
    return result


def _batch(config: RunConfig) -> dict[str, int]:
    train = config.train
    workers, passes = train.num_workers, train.accumulate
    at_once = train.batch_size // (workers * passes)
    return {"images": train.batch_size, "workers": workers, "at_once": at_once, "accumulate": passes}


def _num_steps(config: RunConfig, images: int) -> int:
    from pipelines.data.sample_plan import SamplePlan

    train = config.train
    return SamplePlan(images, train.batch_size, train.epochs, train.seed).num_steps


def _preprocess(config: RunConfig, refused: list[str]) -> tuple[Stage, Data]:
    from pipelines.data.manifest import Manifest, manifest_uri
    from pipelines.data.sources import read_source
    from pipelines.preprocess import is_there, raw_data

    data, root = raw_data(config.data)
    if data.shapes is not None and not is_there(data, root):
        stage = Stage("preprocess", "run", "scenes are not generated yet")
        return stage, Data(data.shapes.num_train, fingerprint(data.shapes), None)
    try:
        source = read_source(data, root)
    except InputError as error:
        refused += error.problems
        return Stage("preprocess", "run", "the raw data is not complete"), Data(0, "", None)
    images = {split.name: len(split.images) for split in source.splits}
    uri = storage.join(storage.store_root(), "prepared", source.fingerprint)
    if not storage.exists(manifest_uri(uri)):
        why = f"{images['train']} + {images['val']} images of {root} are not prepared yet"
        return Stage("preprocess", "run", why), Data(images["train"], source.fingerprint, None)
    prepared = PreparedData(uri=uri, fingerprint=Manifest.load(uri).fingerprint, num_images=images)
    why = f"{images['train']} + {images['val']} images are prepared in {uri}"
    return Stage("preprocess", "skip", why), Data(images["train"], source.fingerprint, prepared)


def _train(config: RunConfig, data: Data) -> tuple[Stage, int]:
    """The stage, and how many steps are done."""
    from pipelines.train import ARTIFACT, run_uri

    if data.prepared is None:
        return Stage("train", "run", "its data is not prepared yet"), 0
    uri = run_uri(config, data.prepared)
    if storage.exists(storage.join(uri, ARTIFACT)):
        return Stage("train", "skip", f"{uri} is finished"), 0
    snapshot = storage.join(uri, SNAPSHOT)
    if storage.exists(snapshot):
        newest = json.loads(storage.read_bytes(snapshot)).get("latest_checkpoint_result")
        if newest:
            step = int(newest["metrics"]["step"])
            return Stage("train", "resume", f"{uri} has a checkpoint of step {step}"), step
    return Stage("train", "run", f"{uri} has no checkpoint"), 0


def _rest(config: RunConfig, data: Data, train: Stage, refused: list[str]) -> list[Stage]:
    from pipelines.data.manifest import Manifest
    from pipelines.evaluate import load_report, report_key
    from pipelines.train import load_run, run_uri

    if data.prepared is None or train.action != "skip":
        return [Stage("evaluate", "run", "the run is not finished"), Stage("register", "run", "there is no report yet")]
    trained = load_run(run_uri(config, data.prepared))
    validation = Manifest.load(data.prepared.uri).split_fingerprint("val")
    key = report_key(config, trained.fingerprint, validation)
    place = storage.join(trained.uri, "report.json")
    if not storage.exists(place) or load_report(trained.uri).fingerprint != key:
        why = "the report is of other settings" if storage.exists(place) else "there is no report yet"
        return [Stage("evaluate", "run", why), Stage("register", "run", "there is no report yet")]
    return [Stage("evaluate", "skip", f"{place} is there"), _register(config, trained.model_uri, refused)]


def _register(config: RunConfig, model_uri: str, refused: list[str]) -> Stage:
    from pipelines.register import version_of
    from pipelines.tracking_address import is_new

    name = config.register.model_name
    try:
        version = None if is_new() else version_of(model_uri, name)
    except InputError as error:
        refused += error.problems
        return Stage("register", "run", "MLflow does not answer")
    if version is None:
        return Stage("register", "run", f"no version of {name} is this model")
    return Stage("register", "skip", f"version {version.version} of {name} is this model")


def _resources(refused: list[str]) -> dict[str, Any]:
    where = os.environ.get("RAY_ADDRESS") or "this machine"
    try:
        if is_job_server(where):
            check_address(where)
            return {"where": where}
        return {"where": where, **resources()}
    except InputError as error:
        refused += error.problems
        return {"where": where}


def _cannot_run(config: RunConfig, data: Data, there: dict[str, Any]) -> list[str]:
    from pipelines.study.search import concurrency

    train, reasons = config.train, []
    if "CPU" in there:
        if missing := missing_workers(train, config.feed, there):
            reasons.append(missing)
        try:
            concurrency(config, there)
        except Refused as refusal:
            reasons.append(f"tune: {refusal}")
    if data.images and train.batch_size > data.images * train.epochs:
        reasons.append(
            f"train.batch_size = {train.batch_size}: {data.images} images × {train.epochs} epochs do not fill one "
            "batch; take a smaller batch or more epochs"
        )
    return reasons


def _measured(config: RunConfig) -> tuple[dict[str, float] | None, str]:
    """Images per second and memory of the longest run that computed the same, and which run that is."""
    root = storage.join(storage.store_root(), "runs")
    wanted = _what_costs(to_json(config))
    best: tuple[int, str, dict[str, float]] | None = None
    for name in storage.list_folders(root):
        places = [storage.join(root, name, file) for file in ("config.json", "events.jsonl")]
        if not name.startswith(f"{config.name}-") or not all(map(storage.exists, places)):
            continue
        if _what_costs(json.loads(storage.read_bytes(places[0]))) != wanted:
            continue
        events = [json.loads(line) for line in storage.read_bytes(places[1]).decode().splitlines()]
        steps = [event for event in events if event["kind"] == "step"]
        if steps and (best is None or steps[-1]["step"] > best[0]):
            memory = max(event["memory_gb"] for event in steps)
            best = steps[-1]["step"], name, {"images_per_s": steps[-1]["images_per_s"], "memory_gb": memory}
    if best is None:
        return None, "hours and memory: unknown, no earlier run of this network, input and workers in the store"
    return best[2], f"as measured in {best[1]}: {best[2]['images_per_s']:.1f} images per second"


def _what_costs(plain: dict[str, Any]) -> Any:
    """The settings that time and memory of a step depend on."""
    names = "num_workers", "use_gpu", "batch_size", "micro_batch_size", "precision", "compile"
    return [plain["model"], plain["augment"], [plain["train"].get(name) for name in names], plain.get("feed")]


def _show(config: RunConfig, result: dict[str, Any]) -> None:
    """The plan as a table for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
    table = Table("stage", "", title=f"plan · {config.name} · {result['plan_hash']}", title_justify="left")
    table.add_column("why", overflow="fold")
    for stage in result["stages"]:
        table.add_row(stage["stage"], stage["action"], stage["why"])
    console.print(table)
    for name, value in _known_figures(result):
        console.print(f"{name:>12}  {value}")
    for line in [*result["notes"], *(f"refused: {reason}" for reason in result["refused"])]:
        console.print(line, style="bold red" if line.startswith("refused") else None, markup=False)


def _known_figures(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    batch, steps, there = result["batch"], result["steps"], result["resources"]
    yield "batch", "{images} images = {workers} workers × {at_once} at once × {accumulate} accumulated".format(**batch)
    if steps["total"] is not None:
        yield "steps", f"{steps['left']} of {steps['total']} are left"
    for key, name, form in (("hours", "hours", "{:.2f}"), ("peak_memory_gb", "memory", "{:.1f} GB per worker")):
        if result[key] is not None:
            yield name, form.format(result[key])
    if result["cost"] is not None:
        yield "cost", f"{result['cost']:.2f}"
    if "CPU" in there:
        yield "resources", f"{there['CPU']} CPUs · {there['GPU']} GPUs on {there['where']}"
