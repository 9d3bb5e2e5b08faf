"""`retrain`: one tick of a scheduled retraining: new data or code? train, measure on the frozen set, promote or hold.

A tick may end anywhere, by an error or a kill: the next one finds what is done and continues from there. What it leaves
is in `<store>/retrain/<config.name>/`: the frozen set, a record of every tick, and the lease that keeps ticks apart.
"""

from __future__ import annotations

import _thread
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from aunet.categories import difference
from aunet.config import AugmentConfig, FusionConfig
from aunet.errors import InputError
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.evaluate import evaluate
from pipelines.preprocess import preprocess
from pipelines.register import register, update_figures
from pipelines.runtime.code_version import code_version
from pipelines.settings.run_config import RunConfig, fingerprint, from_json
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData, RegisteredModel, Report, TrainedRun, VerbResult
from pipelines.store.layout import RetrainFolder, Store
from pipelines.store.lease import Held, Lease, hold
from pipelines.store.run_folder import RunFolder
from pipelines.store.stored_json import read_stored
from pipelines.tracking import registry, runs as tracking
from pipelines.tracking.address import check_tracking
from pipelines.train import find_run, train
from pipelines.training.identity import run_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """The stages that a tick composes."""

    preprocess: Callable[[RunConfig], PreparedData] = preprocess
    train: Callable[[RunConfig, PreparedData], TrainedRun] = train
    evaluate: Callable[..., Report] = evaluate
    register: Callable[..., RegisteredModel] = register


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick(VerbResult):
    """What a tick did."""

    action: str
    """nothing or trained"""
    reason: str
    decision: str | None = None
    """promoted or held; None: nothing was trained."""
    key: str | None = None
    """Names data, frozen set, code and settings; None: another tick was at work."""
    prepared: PreparedData | None = None
    run: TrainedRun | None = None
    report: Report | None = None
    """On the frozen set."""
    model: RegisteredModel | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields by name, and after a training its metrics on the frozen set by theirs."""
        metrics = self.report.metrics if self.report and self.action == "trained" else {}
        return {**asdict(self), **metrics}


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedTick(VerbResult):
    """The record of a tick that has trained, as it is in the store."""

    finished: str
    decision: str
    reason: str
    key: str
    prepared: dict[str, Any]
    run: dict[str, Any]
    report: dict[str, Any]
    model: dict[str, Any]

    @classmethod
    def read(cls, uri: str) -> EndedTick:
        """The record at `uri`.

        Raises:
            InputError: it is damaged.
        """
        return cls.from_fields(read_stored(uri, "delete it and run `retrain` again"), uri)


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenSet:
    """The validation split that every night's model is measured on."""

    prepared: PreparedData
    val_fingerprint: str


def retrain(config: RunConfig, *, stages: Stages = Stages(), version: str | None = None) -> Tick:
    """Do what has become due since the last tick, unless another tick is doing it.

    Args:
        stages: what it composes.
        version: of the code, becomes part of the run's identity; None: `code_version`.

    Raises:
        InputError: the data, the configuration or the frozen set is wrong.
        Lost: this process was suspended so long that another tick has taken over.
    """
    check_tracking()
    folder = Store.here().retrain(config.name)
    config = replace(config, version=version or code_version())
    seconds = config.retrain.lease_seconds
    try:
        with hold(folder.lease_uri, seconds, on_lost=_thread.interrupt_main) as lease:
            return _tick(config, folder, lease, stages)
    except Held as held:
        return _nothing(config, Tick(action="nothing", reason=f"another tick holds the lease: {held.record}"))


def _tick(config: RunConfig, folder: RetrainFolder, lease: Lease, stages: Stages) -> Tick:
    prepared = stages.preprocess(config)
    frozen = _frozen_set(config, folder, prepared)
    settings = (config.model, config.augment, config.loss, config.fusion, config.train, config.register)
    key = fingerprint(prepared.fingerprint, frozen.val_fingerprint, config.version, *settings)
    if storage.exists(folder.tick_uri(key)):
        return _nothing(config, _ended_before(folder.tick_uri(key)))
    news = _news(folder, prepared) + _progress(config, prepared)
    _say(config, news)

    lease.check()
    run = stages.train(config, prepared)
    lease.check()
    report = stages.evaluate(config, run, frozen.prepared, apart=True)
    trouble = _measure_holder(config, frozen, run, lease, stages)
    lease.check()
    model = stages.register(config, report, fence=lease.check)
    tracking.set_tag(run.mlflow_run_id, "retrain_key", key)
    tick = Tick(
        action="trained",
        reason=f"{news}; {model.reason}{trouble}",
        decision="promoted" if model.alias else "held",
        key=key,
        prepared=prepared,
        run=run,
        report=report,
        model=model,
    )
    lease.check()
    record = {**tick.to_json(), "finished": _now()}
    storage.create_exclusive(folder.tick_uri(key), json.dumps(record, indent=1).encode())
    return tick


def _ended_before(uri: str) -> Tick:
    """A tick that finds its work done, by the record of the one that did it."""
    ended = EndedTick.read(uri)
    return Tick(
        action="nothing",
        reason=f"nothing new since the tick of {ended.finished}, which {ended.decision}: {ended.reason}",
        key=ended.key,
        prepared=PreparedData.from_fields(ended.prepared, uri),
        run=TrainedRun.from_fields(ended.run, uri),
        report=Report.from_fields(ended.report, uri),
        model=RegisteredModel.from_fields(ended.model, uri),
    )


def _frozen_set(config: RunConfig, folder: RetrainFolder, prepared: PreparedData) -> FrozenSet:
    """The frozen set, which is the validation split of the first tick.

    Raises:
        InputError: it is no longer what it was, or has other categories than today's data.
    """
    uri = folder.frozen_uri
    today = Manifest.load(prepared.uri)
    first = {"prepared": asdict(prepared), "val_fingerprint": today.split_fingerprint("val"), "since": _now()}
    if storage.create_exclusive(uri, json.dumps(first, indent=1).encode()):
        _say(config, f"frozen set: the {prepared.num_images['val']} validation images of {prepared.uri}")
    plain = read_stored(uri, "delete it to freeze anew")
    frozen = FrozenSet(
        prepared=PreparedData.from_fields(plain.get("prepared"), uri),
        val_fingerprint=from_json(str, plain.get("val_fingerprint"), f"{uri}: val_fingerprint"),
    )
    manifest = Manifest.load(frozen.prepared.uri)
    if manifest.split_fingerprint("val") != frozen.val_fingerprint:
        raise InputError(f"{frozen.prepared.uri}: not what {uri} froze; restore it, or delete {uri} to freeze anew")
    if difference(manifest.categories.entries, today.categories.entries):
        raise InputError(
            f"{uri}: the frozen set has other categories than today's data; delete the file to freeze anew"
        )
    return frozen


def _news(folder: RetrainFolder, prepared: PreparedData) -> str:
    """What is new since the last tick that ended, in words."""
    newest = folder.newest_tick_uri()
    if newest is None:
        counts = " and ".join(f"{count} {split}" for split, count in prepared.num_images.items())
        return f"first tick, {counts} images"
    ended = EndedTick.read(newest)
    then = PreparedData.from_fields(ended.prepared, newest)
    try:
        before = _images(then.uri)
    except InputError:
        return f"the data of the tick of {ended.finished} no longer exist; all images count as new"
    now = _images(prepared.uri)
    if now == before:
        return "0 new images, 0 gone; new are the code, the settings or the frozen set"
    return f"{len(now - before)} new images, {len(before - now)} gone"


def _progress(config: RunConfig, prepared: PreparedData) -> str:
    """What an earlier tick has left of this one's training, in words."""
    folder = run_folder(config, prepared)
    if folder.trained():
        return "; trained already"
    return "; resumed: an earlier tick did not finish" if folder.is_begun() else ""


def _images(prepared_uri: str) -> set[tuple[str, str]]:
    """Every image with its annotation, by split and hash."""
    return {(split, digest) for split in ("train", "val") for digest in ShardReader(prepared_uri, split).digests}


def _measure_holder(config: RunConfig, frozen: FrozenSet, run: TrainedRun, lease: Lease, stages: Stages) -> str:
    """Measure the alias's holder on the frozen set, as it would be released, where its figures are of other data.

    Returns:
        Why that is not possible, else nothing.
    """
    holder = registry.alias_holder(config.register.model_name, config.register.alias)
    if holder is None or holder.model_uri == run.model_uri:
        return ""
    if holder.tags.get("val_fingerprint") == frozen.val_fingerprint:
        return ""
    _say(config, f"version {holder.number} has no figures on the frozen set yet")
    holders = RunFolder(storage.parent(holder.model_uri))
    try:
        own = holders.model_settings()
        as_released = replace(
            config,
            augment=from_json(AugmentConfig, own.get("augment"), "augment"),
            fusion=from_json(FusionConfig, own.get("fusion"), "fusion"),
        )
        released = find_run(holders)
        report = stages.evaluate(as_released, released, frozen.prepared, apart=True)
    except InputError as error:
        trouble = f" (version {holder.number} could not be measured: {'; '.join(error.problems)})"
        _say(config, trouble.strip(" ()"))
        return trouble
    lease.check()
    update_figures(holder, report)
    return ""


def _nothing(config: RunConfig, tick: Tick) -> Tick:
    _say(config, tick.reason)
    return tick


def _say(config: RunConfig, message: str) -> None:
    print(f"retrain · {config.name} · {message}", file=sys.stderr, flush=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
