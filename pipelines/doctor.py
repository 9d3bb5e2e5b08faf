"""`doctor`: this machine and what it reaches; each problem with the line that repairs it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from pipelines.checks import machine, services
from pipelines.checks.machine import Finding
from pipelines.tracking_address import without_password

LOCAL, REMOTE = 300.0, 15.0
"""Seconds that a check may take; importing torch alone takes a busy machine long."""
ALL: dict[str, tuple[Callable[[], Finding], float, str]] = {
    "versions": (machine.versions, LOCAL, machine.REPAIR),
    "torch": (machine.torch_pair, LOCAL, machine.REPAIR),
    "operator": (machine.operator, LOCAL, "make setup, or: python -m aunet_ops.build --force"),
    "GPU": (machine.gpu, LOCAL, "see that `nvidia-smi` answers"),
    "Ray": (
        services.ray_cluster,
        60.0,
        "start the cluster, correct or unset RAY_ADDRESS; with token authentication set RAY_AUTH_MODE=token and "
        "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH",
    ),
    "S3": (services.s3, REMOTE, "start the server, or correct AWS_ENDPOINT_URL"),
    "store": (
        services.store,
        REMOTE,
        "name a folder or bucket that you may write to: AUNET_STORE=/path or AUNET_STORE=s3://bucket/prefix",
    ),
    "MLflow": (services.mlflow, 60.0, "start the server, or correct or unset MLFLOW_TRACKING_URI"),
    "disk": (machine.disk, REMOTE, "free some space, or name another AUNET_STORE or TMPDIR"),
    "shared memory": (machine.shared_memory, REMOTE, ""),
    "open files": (machine.open_files, REMOTE, ""),
}
"""Name → check, seconds it may take, and the cure where it fails without one of its own."""


def doctor() -> dict[str, Any]:
    """Make every check; none that fails keeps the others from being made.

    Returns:
        `checks` (name, ok, detail, cure) and `problems`, the names of those that failed; the exit code is 2 then.
    """
    _import_what_is_slow()
    results = []
    for name, (check, seconds, cure) in ALL.items():
        finding = examine(check, seconds, cure)
        results.append({"name": name, **finding._asdict()})
        _show(name, finding)
    return {"checks": results, "problems": [result["name"] for result in results if not result["ok"]]}


def examine(check: Callable[[], Finding], seconds: float, cure: str) -> Finding:
    """A check's finding; an error or no answer in time is one too."""
    found: list[Finding] = []

    def work() -> None:
        try:
            found.append(check())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one thing, the others are looked at
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            found.append(Finding(False, f"{kind}{' '.join(str(error).split())[:400]}", cure))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    finding = found[0] if found else Finding(False, f"no answer within {seconds:.0f} s", cure)
    return finding._replace(detail=without_password(finding.detail))


def _import_what_is_slow() -> None:
    """So that a check's seconds go to what it looks at; what cannot be imported, the check itself says."""
    import contextlib
    import importlib

    for name in ("torch", "torchvision", "ray", "pyarrow.fs"):
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _show(name: str, finding: Finding) -> None:
    from rich.console import Console
    from rich.text import Text

    mark, style = ("✗", "red") if not finding.ok else ("!", "yellow") if finding.cure else ("✓", "green")
    console = Console(stderr=True, soft_wrap=not sys.stderr.isatty())
    console.print(Text.assemble((f"{mark} {name:<14}", style), finding.detail))
    if finding.cure:
        console.print(Text(f"  → {finding.cure}", "bold" if not finding.ok else "dim"))
