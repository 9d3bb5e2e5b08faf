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
from typing import Any

from aunet.errors import InputError, Refused, Unavailable
from pipelines.data.manifest import Manifest
from pipelines.evaluate import evaluate
from pipelines.measuring.gating.evidence import read_evidence
from pipelines.measuring.gating.frozen import check_apart
from pipelines.measuring.gating.namesakes import other_categories
from pipelines.measuring.gating.promotion import begun_ledger, repair, update_figures
from pipelines.measuring.gating.ticks import EndedTick, FrozenSet, frozen_set, moment, news
from pipelines.measuring.released import as_released
from pipelines.preprocess import outlook, preprocess
from pipelines.presets import PRESETS
from pipelines.register import register
from pipelines.runtime.code_version import code_version
from pipelines.runtime.run_metrics import tick_ended
from pipelines.settings.run_config import RunConfig, fingerprint
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData, RegisteredModel, Report, TrainedRun, VerbResult
from pipelines.store.layout import RetrainFolder, Store
from pipelines.store.lease import Held, Lease, hold
from pipelines.store.ledger import LedgerEntry
from pipelines.store.run_folder import RunFolder
from pipelines.tracking import registry, runs as tracking
from pipelines.tracking.address import check_tracking
from pipelines.train import find_run, train
from pipelines.training.advice import foreign_name
from pipelines.training.identity import run_folder

MAX_TURNS = 4
"""How often the model is compared again because the champion changed while it was measured."""


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


def retrain(config: RunConfig, *, stages: Stages = Stages(), version: str | None = None) -> Tick:
    """Do what has become due since the last tick, unless another tick is doing it.

    Args:
        stages: what it composes.
        version: of the code, becomes part of the run's identity; None: `code_version`.

    Raises:
        InputError: the data, the configuration or the frozen set is wrong, or a frozen image is in the training data.
        Refused: the champion of `register.model_name` knows other categories; nothing is trained then.
        Lost: this process was suspended so long that another tick has taken over.
    """
    check_tracking()
    folder = Store.here().retrain(config.name)
    config = replace(config, version=_version(config, version))
    seconds = config.retrain.lease_seconds
    try:
        with hold(folder.lease_uri, seconds, on_lost=_thread.interrupt_main, patient=True) as lease:
            return _tick(config, folder, lease, stages)
    except Held as held:
        return _nothing(config, Tick(action="nothing", reason=f"another tick holds the lease: {held.record}"))


def _tick(config: RunConfig, folder: RetrainFolder, lease: Lease, stages: Stages) -> Tick:
    _repair(config)
    for text in foreign_name(config, PRESETS):
        _say(config, text)
    prepared = stages.preprocess(config)
    frozen = frozen_set(folder, prepared)
    if frozen.is_new:
        _say(config, f"frozen set: the {prepared.num_images['val']} validation images of {prepared.uri}")
    key = _key(config, prepared, frozen)
    if storage.exists(folder.tick_uri(key)):
        return _nothing(config, _ended_before(folder.tick_uri(key)))
    _check_categories(config, prepared)
    since = news(folder, prepared) + _progress(config, prepared)
    _say(config, since)
    check_apart(frozen.prepared.uri, prepared.uri, config.register.near_images == "refuse")

    lease.check()
    run = stages.train(config, prepared)
    lease.check()
    report, model, trouble = _measure_and_register(config, frozen, run, lease, stages)
    tracking.set_tag(run.mlflow_run_id, "retrain_key", key)
    tick = Tick(
        action="trained",
        reason=f"{since}; {model.reason}{trouble}",
        decision="promoted" if model.alias else "held",
        key=key,
        prepared=prepared,
        run=run,
        report=report,
        model=model,
    )
    lease.check()
    tick_ended(config.name, held=tick.decision == "held")
    record = {**tick.to_json(), "finished": moment()}
    storage.create_exclusive(folder.tick_uri(key), json.dumps(record, indent=1).encode())
    return tick


def ended_tick(config: RunConfig, *, version: str | None = None) -> Tick | None:
    """The tick that would find its work done, without doing any; None: there may be something to do.

    A scheduler asks this before it starts machines with GPUs.

    Raises:
        InputError, Refused: as `retrain`, for what can be seen without work.
    """
    folder, prepared = Store.here().retrain(config.name), outlook(config).prepared
    if prepared is None or not storage.exists(folder.frozen_uri):
        return None
    config = replace(config, version=_version(config, version))
    uri = folder.tick_uri(_key(config, prepared, frozen_set(folder, prepared)))
    if storage.exists(uri):
        return _nothing(config, _ended_before(uri))
    _check_categories(config, prepared)
    return None


def _check_categories(config: RunConfig, prepared: PreparedData) -> None:
    if refusal := other_categories(config.register, Manifest.load(prepared.uri).categories):
        raise Refused(refusal)


def _version(config: RunConfig, code: str | None) -> str:
    """Names code and fusion: a model has the fusion of its training, so another fusion is another run."""
    return fingerprint(code or code_version(own_presets=False), config.fusion)


def _key(config: RunConfig, prepared: PreparedData, frozen: FrozenSet) -> str:
    """Names data, frozen set, code and settings."""
    settings = (config.model, config.augment, config.loss, config.fusion, config.train, config.register)
    return fingerprint(prepared.fingerprint, frozen.val_fingerprint, config.version, *settings)


def _repair(config: RunConfig) -> None:
    """Let MLflow say what the ledger says; what prevents that is said, and prevents nothing else."""
    settings = config.register
    try:
        repair(Store.here().ledger(settings.model_name, settings.alias), settings)
    except (InputError, Unavailable) as error:
        _say(config, f"MLflow was not compared with the ledger: {error}")


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


def _progress(config: RunConfig, prepared: PreparedData) -> str:
    """What an earlier tick has left of this one's training, in words."""
    folder = run_folder(config, prepared)
    if folder.trained():
        return "; trained already"
    return "; resumed: an earlier tick did not finish" if folder.is_begun() else ""


def _measure_and_register(
    config: RunConfig, frozen: FrozenSet, run: TrainedRun, lease: Lease, stages: Stages
) -> tuple[Report, RegisteredModel, str]:
    """Measure the model, compared with whoever is champion by then, and register it.

    Returns:
        Report and registered model; and why they cannot be compared, else nothing.
    """
    ledger = begun_ledger(config.register)
    for last in reversed(range(MAX_TURNS)):
        head = ledger.head()
        trouble = _measure_champion(config, frozen, run, head, lease, stages)
        lease.check()
        report = stages.evaluate(config, run, frozen.prepared, apart=True)  # once; its page compares with the champion
        lease.check()
        model = stages.register(config, report, fence=lease.check)
        if model.alias or last == 0 or ledger.head() == head:
            return report, model, trouble
    raise AssertionError("not reached")


def _measure_champion(
    config: RunConfig, frozen: FrozenSet, run: TrainedRun, head: LedgerEntry | None, lease: Lease, stages: Stages
) -> str:
    """Measure the champion on the frozen set, as it would be released, where that was not done before.

    Returns:
        Why that is not possible, else nothing.
    """
    if head is None or head.model_uri == run.model_uri:
        return ""
    champions = RunFolder(storage.parent(head.model_uri))
    try:
        released = find_run(champions)
        report = stages.evaluate(as_released(config, champions), released, frozen.prepared, apart=True)
        evidence = read_evidence(report.uri)
    except InputError as error:
        trouble = f" (version {head.version} could not be measured: {'; '.join(error.problems)})"
        _say(config, trouble.strip(" ()"))
        return trouble
    lease.check()
    version = registry.version_of(head.model_uri, config.register.model_name)
    if version and version.tags.get("val_fingerprint") != frozen.val_fingerprint:
        update_figures(version, evidence)
    return ""


def _nothing(config: RunConfig, tick: Tick) -> Tick:
    _say(config, tick.reason)
    return tick


def _say(config: RunConfig, message: str) -> None:
    print(f"retrain · {config.name} · {message}", file=sys.stderr, flush=True)
