"""A sample of every kind of hostile input: none is accepted wrongly, none traces back, none touches what is outside.

All of them: `python -m tests.hostile`.
"""

from pathlib import Path

import pytest

from tests.hostile.__main__ import attack, bad, table

EVERY = 17
"""Each of so many; a prime, so that a sample meets every damage and every field."""


def test_hostile_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endings = attack(tmp_path, EVERY)
    with capsys.disabled():
        print(f"\n{table(endings)}")
    assert sum(map(len, endings.values())) >= 300
    assert [(e.case.kind, e.case.name, e.verdict, e.detail) for e in bad(endings)] == []
