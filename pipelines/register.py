"""`register`: a report → a version in the model registry, and its alias if the gate lets it have it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from pipelines.measuring.gating.evidence import read_evidence
from pipelines.measuring.gating.promotion import propose, unfenced
from pipelines.measuring.gating.rehearsal import Rehearse, rehearse
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import Outlook, RegisteredModel, Report, TrainedRun
from pipelines.tracking import registry
from pipelines.tracking.address import is_new


def register(
    config: RunConfig,
    report: Report,
    *,
    fence: Callable[[], object] = unfenced,
    rehearse: Rehearse = rehearse,
) -> RegisteredModel:
    """Make the model of a report a version of `config.register.model_name`; twice gives the same version.

    The alias moves to it when no version holds the alias and its own checks pass, or when the gate finds it better than
    the holder by more than the margin, both measured on the same validation data. The ledger records that first; the
    version's tags `decision` and `reason` say what was decided, and its tag `model_sha256` which folder is meant.

    Args:
        fence: called before the decision is written; what it raises keeps the alias where it is.
        rehearse: tries the model in fresh processes.

    Raises:
        InputError: the report is damaged or has no PQ, or its model is not a complete folder or was changed since it
            was registered; nothing is written then. Or the frozen set was changed.
        Refused: the champion of that name knows other categories; nothing is written then.
        Unavailable: the registry does not answer.
    """
    settings = config.register
    evidence = read_evidence(report.uri)
    decision = propose(settings, evidence, fence=fence, rehearse=rehearse)
    as_before = decision.is_champion and decision.findings is None
    known = f"{settings.alias} is version {decision.version.number}, as before: " if as_before else ""
    print(f"register {settings.model_name}: {known}{decision.reason}", file=sys.stderr)
    return RegisteredModel(
        uri=decision.version.uri,
        fingerprint=evidence.run_id,
        name=decision.version.name,
        version=decision.version.number,
        alias=settings.alias if decision.is_champion else None,
        reason=decision.reason,
    )


def outlook(config: RunConfig, run: TrainedRun | None, report: Report | None) -> Outlook:
    """What `register` would do; None: that artifact does not exist yet.

    Raises:
        Unavailable: the registry does not answer.
    """
    if run is None or report is None:
        return Outlook(stage="register", action="run", why="there is no report yet")
    name = config.register.model_name
    version = None if is_new() else registry.version_of(run.model_uri, name)
    if version is None:
        return Outlook(stage="register", action="run", why=f"no version of {name} is this model")
    return Outlook(stage="register", action="skip", why=f"version {version.number} of {name} is this model")
