"""Targets by their names, and what is said of one whose library is not installed."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from aunet.errors import InputError
from pipelines import presets
from pipelines.job import job
from pipelines.submit import submit


def sent() -> object:
    base = presets.shapes_smoke()
    return submit(base, verb="run", preset="shapes_smoke", base=base, target="kubeflow", dry_run=True)


@pytest.mark.parametrize("ask", [sent, lambda: job(id="run-x-1", target="kubeflow")], ids=["submit", "job"])
def test_without_kfp_its_target_says_what_to_install(
    ask: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("pipelines.targets.kubeflow")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "kfp", None)
    with pytest.raises(InputError, match=r'kfp is not installed \(.*\); run uv pip install .*"kfp\[kubernetes\]"'):
        ask()
