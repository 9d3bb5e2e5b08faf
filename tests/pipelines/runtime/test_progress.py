"""What a run says: plain lines where nobody watches, one live line on a terminal."""

from __future__ import annotations

import sys

import pytest

from pipelines.runtime.progress import Console, describe_step

STEP = {
    "kind": "step",
    "step": 10,
    "steps": 20,
    "epoch": 1.5,
    "loss": 2.5,
    "rpn": 0.1,
    "box": 0.2,
    "mask": 0.3,
    "semantic": 0.4,
    "lr": 1e-3,
    "images_per_s": 12.0,
    "eta_s": 75.4,
    "unsaved_s": 185.0,
}


def test_a_step_in_one_line() -> None:
    line = describe_step(STEP)
    expected = "step 10/20", "epoch 1.5", "loss 2.500", "semantic 0.400", "12.0 img/s", "0:01:15 left"
    for words in (*expected, "0:03:05 lost if killed now"):
        assert words in line


def test_plain_lines_come_now_and_then_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console("train x")
    for step in range(10, 21):
        console(STEP | {"step": step})
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" · ")[1] for line in lines] == ["step 10/20", "step 20/20"]


def test_a_terminal_shows_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    console = Console("train x")
    for step in (10, 11, 20):
        console(STEP | {"step": step})
    shown = capsys.readouterr().err
    assert shown.count("\r") == 3 and shown.count("\n") == 1


def test_evaluations_and_failures_always_show(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console("train x")
    console({"kind": "evaluation", "epoch": 5.0, "PQ": 39.62, "PQ_th": 49.1, "PQ_st": 25.2, "AP": 34.7, "mIoU": 45.1})
    console({"kind": "failure", "rank": 1, "error": "ValueError: no"})
    console({"kind": "checkpoint", "step": 3, "name": "a"})
    console({"kind": "restart", "step": 3, "text": "rank 1 was killed"})
    first, second, third = capsys.readouterr().err.splitlines()
    assert "epoch 5 · PQ 39.6 · PQ_th 49.1" in first
    assert "rank 1 failed: ValueError: no" in second
    assert third == "train x · rank 1 was killed"
