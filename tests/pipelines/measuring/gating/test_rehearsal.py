"""A model in fresh processes: alike twice, timed in turns, and every way in which it cannot be used."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_model

from aunet import build_model
from aunet.config import AugmentConfig, FusionConfig
from aunet.config_json import to_json
from aunet.data.shapes import make_scene
from aunet.errors import InputError
from pipelines.measuring.gating import trial
from pipelines.measuring.gating.rehearsal import rehearse
from pipelines.store.hashes import write_hashes
from tests.promotions import make_model
from tests.tiny import CATEGORIES, TINY


def network(folder: Path) -> Path:
    """A folder of a small network with random weights."""
    folder.mkdir()
    torch.manual_seed(3)
    save_model(build_model(TINY, CATEGORIES), str(folder / "model.safetensors"))
    settings = {
        "model": to_json(TINY),
        "augment": to_json(AugmentConfig(short_sides=(64,), max_size=128)),
        "fusion": to_json(FusionConfig()),
        "categories": CATEGORIES.to_json(),
    }
    (folder / "config.json").write_text(json.dumps(settings))
    write_hashes(folder)
    return folder


class Processes:
    """Answers in place of fresh processes."""

    def __init__(self, **failures: str) -> None:
        self.failures = failures
        self.requests: list[dict[str, Any]] = []

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        for name in ("ours", "theirs"):
            if request[name] and (why := self.failures.get(name)):
                raise InputError(why)
        times = {"ms": 30.0, "their_ms": 20.0, "slowdown": 1.5} if request["theirs"] else {}
        return {"maps": ["a", "b"], "images": 2, **times}


def test_two_fresh_processes_label_alike(tmp_path: Path) -> None:
    model = str(network(tmp_path / "model"))
    images = [png(make_scene(0, "val", n, 48, 64).image) for n in range(2)]
    shown = rehearse(model, model, images)
    assert (shown.problem, shown.not_timed, shown.images) == ("", "", 2)
    assert shown.size_mb > 0.1 and shown.their_size_mb == shown.size_mb
    assert shown.ms and shown.ms > 0 and shown.their_ms and shown.slowdown


def test_a_folder_that_is_no_model_cannot_be_used(tmp_path: Path) -> None:
    shown = rehearse(str(make_model(tmp_path / "model")), None, [])
    assert shown.problem.startswith("it cannot be used in a fresh process: ") and "config.json" in shown.problem


def test_maps_that_differ_are_counted(tmp_path: Path) -> None:
    answers = iter([["a", "b", "c"], ["a", "x", "c"]])
    shown = rehearse(str(make_model(tmp_path / "m")), None, [], lambda _: {"maps": next(answers), "images": 3})
    assert shown.problem == "two fresh processes label 1 of 3 images differently"


def test_a_champion_that_cannot_be_used_is_not_timed(tmp_path: Path) -> None:
    processes = Processes(theirs="its weights are gone")
    shown = rehearse(str(make_model(tmp_path / "m")), "/gone", [b"image"], processes.ask)
    assert (shown.problem, shown.slowdown, shown.their_size_mb) == ("", None, None)
    assert shown.not_timed == "the champion was not timed: its weights are gone"
    assert [request["theirs"] for request in processes.requests].count(None) == 2
    assert rehearse(str(make_model(tmp_path / "n")), "/gone", [], Processes(ours="no").ask).problem.endswith(
        "process: no"
    )


def test_times_are_taken_in_turns() -> None:
    moments = iter(x / 1000 for x in range(10**6))
    turns: list[str] = []

    def clock() -> float:
        return next(moments)

    def ours(_: object) -> None:
        turns.append("ours")
        for _ in range(29):
            clock()

    def theirs(_: object) -> None:
        turns.append("theirs")
        for _ in range(9):
            clock()

    own, other, ratio = trial.time_in_turns(ours, theirs, [b"a", b"b"], clock)
    assert (own, other, ratio) == pytest.approx((30.0, 10.0, 3.0))
    assert turns == ["ours", "theirs"] * (2 + 2 * trial.REPEATS)


def test_other_work_on_the_machine_makes_no_model_slow() -> None:
    """Every other time of one of two equal models is doubled."""
    moments, calls = 0.0, 0

    def clock() -> float:
        return moments

    def ours(_: object) -> None:
        nonlocal moments, calls
        calls += 1
        moments += 0.02 if calls % 2 else 0.01

    def theirs(_: object) -> None:
        nonlocal moments
        moments += 0.01

    *_, ratio = trial.time_in_turns(ours, theirs, [b"a"], clock)
    assert ratio == pytest.approx(1.0)


def png(picture: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()
