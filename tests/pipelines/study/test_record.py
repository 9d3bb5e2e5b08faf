"""The record of a study: what is written is what is read, and there is one writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from aunet.errors import InputError, Refused
from pipelines.store import storage
from pipelines.study.record import SearchRecord, Trial, best_of

POINT = {"box": 0.0, "mask": 0.0, "semantic": -1.0}


@pytest.fixture(params=["folder", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "record") if request.param == "folder" else f"{request.getfixturevalue('s3')}/record"


def test_what_is_written_is_read_again(uri: str) -> None:
    record = SearchRecord(uri)
    record.propose(0, "equal", POINT)
    record.propose(1, "", {**POINT, "box": 0.1 + 0.2})
    record.result(0, 1, 12.5, "running")
    record.result(1, 1, 1.0, "stopped")
    record.result(0, 3, 20.0, "finished")
    again = SearchRecord(record.uri)
    assert again.trials == record.trials
    assert again.entries == record.entries
    assert again.trials[0].results == {1: 12.5, 3: 20.0}
    assert [(t.state, t.last) for t in again.trials.values()] == [("finished", (3, 20.0)), ("stopped", (1, 1.0))]
    assert again.trials[1].point["box"] == 0.1 + 0.2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"kind": "other", "number": 0}',
        '{"kind": "trial", "number": 0, "origin": "", "point": {}}',
        '{"kind": "trial", "number": 0, "origin": "", "point": {"box": "x", "mask": 0, "semantic": 0}}',
        '{"kind": "trial", "number": -1, "origin": "", "point": {"box": 0, "mask": 0, "semantic": 0}}',
        '{"kind": "result", "number": 7, "epoch": 1, "PQ": 1.0, "state": "running"}',
        '{"kind": "result", "number": 0, "epoch": "1", "PQ": 1.0, "state": "running"}',
        '{"kind": "result", "number": 0, "epoch": 1, "PQ": NaN, "state": "running"}',
        '{"kind": "result", "number": 0, "epoch": 1, "PQ": true, "state": "running"}',
        '{"kind": "result", "number": 0, "epoch": 1, "PQ": 1.0, "state": "odd"}',
    ],
)
def test_a_damaged_event_is_one_line_with_the_cure(uri: str, content: str) -> None:
    SearchRecord(uri).propose(0, "", POINT)
    storage.write_bytes(storage.join(uri, "000001.json"), content.encode())
    with pytest.raises(InputError, match=r"000001\.json: .*; restore it, or delete the study's folder") as caught:
        SearchRecord(uri)
    assert len(caught.value.problems) == 1


def test_two_writers_meet(uri: str) -> None:
    one, other = SearchRecord(uri), SearchRecord(uri)
    one.propose(0, "", POINT)
    with pytest.raises(Refused, match="another `tune`"):
        other.propose(0, "", POINT)
    assert len(SearchRecord(one.uri).entries) == 1


def test_the_best_is_sought_among_those_trained_longest() -> None:
    def trial(number: int, state: str, results: dict[int, float]) -> Trial:
        return Trial(number=number, origin="", point=POINT, state=state, results=results)

    finished = [trial(0, "finished", {1: 5.0, 3: 30.0}), trial(1, "finished", {1: 9.0, 3: 31.0})]
    others = [trial(2, "stopped", {1: 99.0}), trial(3, "failed", {3: 0.0})]
    assert best_of([*others, *finished]).number == 1
    with pytest.raises(InputError, match="of all 1 trials diverged"):
        best_of(others[1:])
