"""`prove` as people call it: kills, a certificate, and without protections one that does not hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.certificate import COUNTS, protected
from tests.commands import TINY_RUN, jobs

pytestmark = pytest.mark.faults


def test_a_fault_and_nothing_is_lost(tmp_path: Path) -> None:
    words = ["prove", "shapes_smoke", *TINY_RUN, "--kills", "1", "--steps", "20", "--seed", "1"]
    result, log = jobs(tmp_path / "store", *words, seconds=900)
    assert result["holds"] and result["identical"] and result["earlier_differs"]
    assert (result["faults"], result["survived"], result["lost"], result["doubled"]) == (1, 1, 0, 0)
    assert "certificate holds: 1 of 1 faults survived" in log
    assert json.loads(Path(result["uri"]).read_text())["by_kind"] == result["by_kind"]
    assert "nothing is lost" in Path(result["html_uri"]).read_text()


@pytest.mark.slow
def test_without_protection_it_does_not_hold(tmp_path: Path) -> None:
    words = ["prove", "shapes_smoke", *TINY_RUN, "--kills", "3", "--steps", "60", "--without-protection"]
    result, log = jobs(tmp_path / "store", *words, rc=3, seconds=1800)
    assert not result["holds"] and not result["identical"] and result["doubled"] > 0
    assert "certificate does not hold" in log


@pytest.mark.slow
def test_the_whole_certificate() -> None:
    """An hour: 43 faults; the 200 interruptions in one process are in test_interruptions.py."""
    certificate = protected()
    assert certificate.holds and certificate.faults == sum(COUNTS.values())
    assert {kind: total.survived for kind, total in certificate.by_kind.items()} == COUNTS
