"""The events of a run: added by several, never rewritten, joined at the end."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.history import History


@pytest.fixture(params=["folder", "s3"])
def history(request: pytest.FixtureRequest, tmp_path: Path) -> History:
    root = str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue("s3")
    return History(storage.join(root, "runs", "one"))


def step(number: int, **more: Any) -> dict[str, Any]:
    return {"kind": "step", "step": number, **more}


def files(history: History) -> list[str]:
    return [file.path for file in storage.list_files(history.uri)]


def test_events_are_added_and_joined(history: History) -> None:
    assert history.events() == []
    history.append([step(1), step(2)])
    history.append([])
    history.append([{"kind": "restart", "step": 2, "text": "rank 1 was killed"}])
    assert files(history) == ["events/000001.jsonl", "events/000002.jsonl"]
    before = history.events()
    assert [event["kind"] for event in before] == ["step", "step", "restart"]
    history.join()
    assert files(history) == ["events.jsonl"] and history.events() == before
    history.append([step(3)])
    history.join()
    assert history.events() == [*before, step(3)]


def test_a_step_that_is_computed_again_counts_once(history: History) -> None:
    history.append([step(1, loss=1.0, at=1.0), step(2, loss=2.0, at=2.0)])
    history.append([{"kind": "evaluation", "step": 2, "PQ": 1.0}, step(2, loss=2.0, at=9.0)])
    assert history.events() == [
        step(1, loss=1.0, at=1.0),
        {"kind": "evaluation", "step": 2, "PQ": 1.0},
        step(2, loss=2.0, at=9.0),
    ]


def test_other_events_of_one_step_all_count(history: History) -> None:
    history.append([{"kind": "restart", "step": 2, "at": 1.0}, {"kind": "restart", "step": 2, "at": 2.0}])
    assert len(history.events()) == 2


def test_joined_halfway_nothing_is_doubled(history: History) -> None:
    """A kill came after the file was written, and before all of the others were deleted."""
    history.append([step(1), {"kind": "restart", "step": 1, "at": 1.0}])
    segment = storage.read_bytes(storage.join(history.uri, "events/000001.jsonl"))
    before = history.events()
    history.join()
    storage.write_bytes(storage.join(history.uri, "events/000001.jsonl"), segment)
    assert history.events() == before


def test_two_who_add_at_once_lose_nothing(history: History) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: history.append([step(number)]), range(24)))
    assert sorted(event["step"] for event in history.events()) == list(range(24))


@pytest.mark.parametrize("line", ["{}", '{"kind": "step"}', '{"kind": "step", "step": "1"}', '{"kind": 1, "step": 1}'])
def test_a_line_that_is_no_event_is_named(history: History, line: str) -> None:
    history.append([step(1)])
    storage.write_bytes(storage.join(history.segments_uri, "000002.jsonl"), f'{{"kind":"a","step":1}}\n{line}'.encode())
    with pytest.raises(InputError, match=r"events/000002\.jsonl, line 2: not an event.*; delete this file"):
        history.events()


def test_other_files_are_left_alone(history: History) -> None:
    history.append([step(1)])
    storage.write_bytes(storage.join(history.segments_uri, "notes.txt"), b"no event")
    assert history.events() == [step(1)]


def test_who_reads_while_the_events_are_joined_sees_them_all(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    segments, joined = History._segments, [False]

    def listed(self: History) -> list[str]:
        names = segments(self)
        if not joined[0]:
            joined[0] = True
            History(history.uri).join()
        return names

    history.append([step(1)])
    history.append([step(2)])
    monkeypatch.setattr(History, "_segments", listed)
    assert history.events() == [step(1), step(2)]


def test_who_reads_while_the_segments_are_deleted_sees_them_all(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other they go, each time that somebody looks."""
    segments, looks = History._segments, iter(range(100))

    def listed(self: History) -> list[str]:
        names = segments(self)
        if next(looks) and names:
            storage.delete(storage.join(history.segments_uri, names[0]))
        return names

    history.append([step(1)])
    history.append([step(2)])
    history.append([step(3)])
    joined = "".join(json.dumps(step(number)) + "\n" for number in (1, 2, 3))
    storage.write_bytes(history.joined_uri, joined.encode())
    next(looks)
    monkeypatch.setattr(History, "_segments", listed)
    assert history.events() == [step(1), step(2), step(3)]
