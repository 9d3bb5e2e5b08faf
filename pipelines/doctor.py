"""`doctor`: this machine and what it reaches; each problem with the line that fixes it."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from aunet.errors import Unavailable
from pipelines.checks import machine, services
from pipelines.checks.machine import Finding
from pipelines.store.addresses import masked
from pipelines.store.artifacts import VerbResult


class Check(NamedTuple):
    """One thing that is examined."""

    find: Callable[[], Finding]
    seconds: float
    """How long it may take."""
    cure: str
    """Where it fails without a cure of its own."""


LOCAL, REMOTE = 300.0, 15.0
"""Seconds that a check may take; importing torch alone takes a busy machine long."""
ALL = {
    "versions": Check(machine.versions, LOCAL, machine.REPAIR),
    "torch": Check(machine.torch_pair, LOCAL, machine.REPAIR),
    "operator": Check(machine.operator, LOCAL, "make setup, or: python -m aunet_ops.build --force"),
    "map reader": Check(machine.map_reader, REMOTE, "python -m aunet_ops.build --force"),
    "GPU": Check(machine.gpu, LOCAL, "check that `nvidia-smi` answers"),
    "Ray": Check(
        services.ray_cluster,
        60.0,
        "start the cluster, correct or unset RAY_ADDRESS; with token authentication set RAY_AUTH_MODE=token and "
        "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH",
    ),
    "S3": Check(services.s3, REMOTE, "start the server, or correct AWS_ENDPOINT_URL"),
    "store": Check(
        services.store,
        REMOTE,
        "name a folder or bucket that you may write to: AUNET_STORE=/path or AUNET_STORE=s3://bucket/prefix",
    ),
    "MLflow": Check(services.mlflow, 60.0, "start the server, or correct or unset MLFLOW_TRACKING_URI"),
    "runs": Check(services.runs, 60.0, "the checks of the store and of MLflow say more"),
    "disk": Check(machine.disk, REMOTE, "free some space, or name another AUNET_STORE or TMPDIR"),
    "shared memory": Check(machine.shared_memory, REMOTE, ""),
    "open files": Check(machine.open_files, REMOTE, ""),
}
"""By name, in the order in which they run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis(VerbResult):
    """What was found, by the name of the check."""

    findings: dict[str, Finding]

    @property
    def problems(self) -> list[str]:
        """The names of the checks that failed."""
        return [name for name, finding in self.findings.items() if not finding.ok]

    def to_json(self) -> dict[str, Any]:
        """`checks` (name, ok, detail, cure) and `problems`."""
        checks = [{"name": name, **finding._asdict()} for name, finding in self.findings.items()]
        return {"checks": checks, "problems": self.problems}

    @property
    def exit_code(self) -> int:
        """2 where there are problems."""
        return 2 if self.problems else 0


def doctor(checks: Mapping[str, Check] = ALL) -> Diagnosis:
    """Run every check; none that fails keeps the others from running."""
    _import_what_is_slow()
    findings = {}
    for name, check in checks.items():
        findings[name] = examine(check)
        _show(name, findings[name])
    return Diagnosis(findings=findings)


def examine(check: Check) -> Finding:
    """A check's finding; an error or no answer in time is one too."""
    findings: list[Finding] = []

    def work() -> None:
        try:
            findings.append(check.find())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one thing, the others are examined
            kind = "" if isinstance(error, (ValueError, Unavailable)) else f"{type(error).__name__}: "
            findings.append(Finding(False, f"{kind}{masked(' '.join(str(error).split()))[:400]}", check.cure))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(check.seconds)
    finding = findings[0] if findings else Finding(False, f"no answer within {check.seconds:.0f} s", check.cure)
    return finding._replace(detail=masked(finding.detail))


def _import_what_is_slow() -> None:
    """So that a check's seconds go to what it examines; what cannot be imported, the check itself reports."""
    for name in ("torch", "torchvision", "ray"):
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _show(name: str, finding: Finding) -> None:
    mark, style = ("✗", "red") if not finding.ok else ("!", "yellow") if finding.cure else ("✓", "green")
    console = Console(stderr=True, soft_wrap=not sys.stderr.isatty())
    console.print(Text.assemble((f"{mark} {name:<14}", style), finding.detail))
    if finding.cure:
        console.print(Text(f"  → {finding.cure}", "bold" if not finding.ok else "dim"))
