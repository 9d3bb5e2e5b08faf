"""`reproduce`: train a model's run again, from the same data and settings, and compare the weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from aunet.errors import InputError
from pipelines.measuring.ancestry import Ancestry, ancestry
from pipelines.measuring.named_models import model_folder
from pipelines.preprocess import preprocess
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import PreparedData, TrainedRun, VerbResult
from pipelines.store.run_folder import RunFolder
from pipelines.tracking.address import check_tracking
from pipelines.train import train


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction(VerbResult):
    """A run and the same once more."""

    identical: bool
    """Whether both have the same weights, bit by bit."""
    weights_sha256: str
    weights_sha256_again: str
    run_uri: str
    run_uri_again: str
    differences: dict[str, tuple[str, str]]
    """What else is not the same, then and now: code, libraries, device. Empty where the weights should be equal."""

    @property
    def exit_code(self) -> int:
        """2 where the weights differ."""
        return 0 if self.identical else 2


def reproduce(
    model: str,
    *,
    prepare: Callable[[RunConfig], PreparedData] = preprocess,
    retrain: Callable[[RunConfig, PreparedData], TrainedRun] = train,
) -> Reproduction:
    """Train again what trained a model; the new run stands beside the first, and a second call finds it finished.

    On CPUs the weights are equal where code, libraries and processor are; on GPUs they need not be.

    Args:
        model: models:/NAME@ALIAS, models:/NAME/VERSION, or the URI of a run or a model folder.

    Raises:
        InputError: no run of this store trained it, or its data are not what they were.
    """
    check_tracking()
    known = ancestry(model_folder(model))
    if known.run is None:
        raise InputError(f"{known.model_uri}: no run of this store trained it; set AUNET_STORE to the store of its run")
    prepared = known.prepared or prepare(known.config)
    if known.origin.data_fingerprint not in ("", prepared.fingerprint):
        raise InputError(
            f"{known.run.uri}: was trained on data {known.origin.data_fingerprint}, which is {prepared.fingerprint} "
            "now; restore the raw data"
        )
    again = retrain(replace(known.config, version=f"again-{known.run.fingerprint}"), prepared)
    theirs = ancestry(again.model_uri)
    result = Reproduction(
        identical=known.weights_sha256 == theirs.weights_sha256,
        weights_sha256=known.weights_sha256,
        weights_sha256_again=theirs.weights_sha256,
        run_uri=known.run.uri,
        run_uri_again=again.uri,
        differences=_differences(known, theirs),
    )
    for line in _in_words(result):
        print(f"reproduce {RunFolder(known.run.uri).name}: {line}", file=sys.stderr)
    return result


def _differences(then: Ancestry, now: Ancestry) -> dict[str, tuple[str, str]]:
    names = {"code": "code", "libraries": "libraries", "devices": "device"}
    pairs = {
        label: (", then ".join(getattr(then.origin, name)), ", then ".join(getattr(now.origin, name)))
        for name, label in names.items()
    }
    return {label: (old or "not recorded", new) for label, (old, new) in pairs.items() if old != new}


def _in_words(result: Reproduction) -> list[str]:
    outcome = "the same weights, bit by bit" if result.identical else "OTHER weights"
    lines = [f"{outcome}: SHA-256 {result.weights_sha256} then, {result.weights_sha256_again} now"]
    lines += [f"{label} was {old}, is {new}" for label, (old, new) in result.differences.items()]
    if not result.identical and not result.differences:
        lines.append("nothing else differs; on GPUs some sums have no fixed order, on CPUs this is a defect: report it")
    return lines
