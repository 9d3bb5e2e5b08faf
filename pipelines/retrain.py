"""`retrain`: one tick of a scheduled retraining: new data or code? train, measure on the frozen set, promote or hold.

A tick may end anywhere, by an error or a kill: the next one finds what is done and goes on from there. What it leaves
lies in `<store>/retrain/<config.name>/`: `frozen.json`, `ticks/<key>.json` and the lease that keeps ticks apart.
"""

from __future__ import annotations

import _thread
import json
import sys
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from aunet.config import AugmentConfig, FusionConfig
from aunet.errors import InputError
from pipelines import storage
from pipelines.artifacts import PreparedData, TrainedRun
from pipelines.config import RunConfig, fingerprint, from_json
from pipelines.lease import Held, Lease, hold

KEYS = ("prepared", "run", "report", "model")
"""The artifacts of a tick."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenSet:
    """The validation split that every night's model is measured on."""

    prepared: PreparedData
    val_fingerprint: str


def retrain(config: RunConfig) -> dict[str, Any]:
    """Do what is to do since the last tick, if no other tick is at it.

    Returns:
        `action` ("nothing" or "trained"), `reason`, `decision` ("promoted", "held" or None), `key`, the artifacts
        `prepared`, `run`, `report` and `model`, and after a training its metrics on the frozen set at top level.

    Raises:
        InputError: the data, the configuration or the frozen set is wrong.
        Lost: this process was suspended so long that another tick has taken over.
    """
    place = storage.join(storage.store_root(), "retrain", config.name)
    seconds = config.retrain.lease_seconds
    try:
        with hold(storage.join(place, "lease"), seconds, on_lost=_thread.interrupt_main) as lease:
            return _tick(config, place, lease)
    except Held as held:
        return _nothing(config, f"another tick holds the lease: {held.record}")


def _tick(config: RunConfig, place: str, lease: Lease) -> dict[str, Any]:
    from pipelines.code_version import code_version
    from pipelines.evaluate import evaluate
    from pipelines.preprocess import preprocess
    from pipelines.register import register_report
    from pipelines.train import run_id, train

    config = replace(config, version=code_version())
    prepared = preprocess(config)
    frozen = _frozen_set(config, place, prepared)
    settings = (config.model, config.augment, config.loss, config.fusion, config.train, config.register)
    key = fingerprint(prepared.fingerprint, frozen.val_fingerprint, config.version, *settings)
    tick = storage.join(place, "ticks", f"{key}.json")
    if storage.exists(tick):
        last = json.loads(storage.read_bytes(tick))
        reason = f"nothing new since the tick of {last['finished']}, which {last['decision']}: {last['reason']}"
        return _nothing(config, reason, key=key, **{name: last[name] for name in KEYS})
    news = _news(place, prepared) + _progress(config, prepared)
    _say(config, news)

    lease.check()
    run = train(config)
    if run.fingerprint != run_id(config, prepared):
        _say(config, "the data changed meanwhile; the training took the newer")
        return _tick(config, place, lease)
    lease.check()
    report = evaluate(config, run.uri, frozen.prepared)
    trouble = _measure_holder(config, frozen, run, lease)
    lease.check()
    model, reason = register_report(config.register, run.uri, report.uri)
    reason += trouble
    _say(config, reason)
    _mark(run, key)
    result = {
        "action": "trained",
        "reason": f"{news}; {reason}",
        "decision": "promoted" if model.alias else "held",
        "key": key,
        **{name: asdict(made) for name, made in zip(KEYS, (prepared, run, report, model), strict=True)},
        **report.metrics,
    }
    lease.check()
    storage.create_exclusive(tick, json.dumps({**result, "finished": _now()}, indent=1).encode())
    return result


def _frozen_set(config: RunConfig, place: str, prepared: PreparedData) -> FrozenSet:
    """The frozen set, which is the validation split of the first tick.

    Raises:
        InputError: it is no longer what it was, or has other categories than the data of today.
    """
    from pipelines.data.manifest import Manifest
    from pipelines.data.sources import meaning

    uri = storage.join(place, "frozen.json")
    today = Manifest.load(prepared.uri)
    first = {"prepared": asdict(prepared), "val_fingerprint": today.split_fingerprint("val"), "since": _now()}
    if storage.create_exclusive(uri, json.dumps(first, indent=1).encode()):
        _say(config, f"frozen set: the {prepared.num_images['val']} validation images of {prepared.uri}")
    plain = json.loads(storage.read_bytes(uri))
    frozen = FrozenSet(prepared=PreparedData(**plain["prepared"]), val_fingerprint=plain["val_fingerprint"])
    manifest = Manifest.load(frozen.prepared.uri)
    if manifest.split_fingerprint("val") != frozen.val_fingerprint:
        raise InputError(f"{frozen.prepared.uri}: not what {uri} froze; bring it back, or delete {uri} to freeze anew")
    if meaning(manifest.categories) != meaning(today.categories):
        raise InputError(
            f"{uri}: the frozen set has other categories than the data of today; delete the file to freeze anew"
        )
    return frozen


def _news(place: str, prepared: PreparedData) -> str:
    """What is new since the last tick that came to its end, in words."""
    ticks = storage.join(place, "ticks")
    if not storage.exists(ticks):
        counts = " and ".join(f"{count} {split}" for split, count in prepared.num_images.items())
        return f"first tick, {counts} images"
    last = max(storage.list_files(ticks), key=lambda file: file.modified)
    record = json.loads(storage.read_bytes(storage.join(ticks, last.path)))
    try:
        before = _images(record["prepared"]["uri"])
    except InputError:
        return f"the data of the tick of {record['finished']} are gone; all images count as new"
    now = _images(prepared.uri)
    if now == before:
        return "0 new images, 0 gone; new are the code, the settings or the frozen set"
    return f"{len(now - before)} new images, {len(before - now)} gone"


def _progress(config: RunConfig, prepared: PreparedData) -> str:
    """What an earlier tick has left of this one's training, in words."""
    from pipelines.train import ARTIFACT, run_uri

    uri = run_uri(config, prepared)
    if storage.exists(storage.join(uri, ARTIFACT)):
        return "; trained already"
    begun = storage.exists(storage.join(uri, "config.json"))
    return "; resumed: an earlier tick did not come to its end" if begun else ""


def _images(prepared_uri: str) -> set[tuple[str, str]]:
    """Every image with its annotation, by split and hash."""
    from pipelines.data.shards import ShardReader

    return {(split, digest) for split in ("train", "val") for digest in ShardReader(prepared_uri, split).digests}


def _measure_holder(config: RunConfig, frozen: FrozenSet, run: TrainedRun, lease: Lease) -> str:
    """Measure the alias's holder on the frozen set, as it would be released, where its figures are of other data.

    Returns:
        Why that cannot be, else nothing.
    """
    from pipelines.evaluate import evaluate
    from pipelines.register import alias_holder, take_figures

    holder = alias_holder(config.register.model_name, config.register.alias)
    if holder is None or holder.source == run.model_uri:
        return ""
    if holder.tags.get("val_fingerprint") == frozen.val_fingerprint:
        return ""
    _say(config, f"version {holder.version} has no figures on the frozen set yet")
    try:
        own = json.loads(storage.read_bytes(storage.join(holder.source, "config.json")))
        as_released = replace(
            config,
            augment=from_json(AugmentConfig, own["augment"], "augment"),
            fusion=from_json(FusionConfig, own["fusion"], "fusion"),
        )
        report = evaluate(as_released, holder.source.rstrip("/").rsplit("/", 1)[0], frozen.prepared)
    except InputError as error:
        return f" (version {holder.version} could not be measured: {'; '.join(error.problems)})"
    lease.check()
    take_figures(holder, report.uri)
    return ""


def _mark(run: TrainedRun, key: str) -> None:
    from pipelines import tracking

    tracking.client().set_tag(run.mlflow_run_id, "retrain_key", key)


def _nothing(config: RunConfig, reason: str, **known: Any) -> dict[str, Any]:
    _say(config, reason)
    blank = dict.fromkeys(("decision", "key", *KEYS))
    return {"action": "nothing", "reason": reason, **blank, **known}


def _say(config: RunConfig, what: str) -> None:
    print(f"retrain · {config.name} · {what}", file=sys.stderr, flush=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
