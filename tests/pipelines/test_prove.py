"""`prove` without Ray: how a preset is shortened, how faults are chosen and counted, and when a certificate holds."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aunet.errors import InputError
from pipelines import presets
from pipelines.data.sample_plan import SamplePlan
from pipelines.pages.certificate import render_certificate
from pipelines.prove import prove, shortened
from pipelines.store.artifacts import PreparedData
from pipelines.training.checkpoint import DamagedCheckpoint, Progress, stored_state
from pipelines.training.identity import num_steps
from pipelines.training.proving.audit import computed, consumed, lost_and_doubled, note
from pipelines.training.proving.campaign import KINDS, Fault, schedule
from pipelines.training.proving.certificate import Certificate, FaultRecord, num_recomputed, records_of, totals_of
from pipelines.training.proving.damaging import degrade, flip_a_bit
from pipelines.training.proving.proof import in_turn
from pipelines.training.proving.states import deviation, hashes_of
from tests.checkpointing import small_config, small_state, with_checkpoints


def test_a_preset_is_shortened_and_nothing_else(sample_data: Path) -> None:
    for name, kind in (("shapes_smoke", "shapes"), ("camvid_small", "folder")):
        config = presets.PRESETS[name]()
        short = shortened(config, 60)
        ids = short.data.train.image_ids
        num_images = short.data.shapes.num_train if short.data.shapes else len(set(ids))
        assert num_images == 56 and (kind == "shapes") == (not ids)
        assert abs(num_steps(short, num_images) - 60) <= 2
        assert (short.model, short.loss, short.augment) == (config.model, config.loss, config.augment)
        assert short.train.num_workers == config.train.num_workers
        assert short.train.lr == config.train.lr and short.train.batch_size == config.train.batch_size


@pytest.mark.parametrize(("steps", "kills", "message"), [(5, 3, "--steps 5: too few"), (60, 0, "--kills 0: nothing")])
def test_what_proves_nothing_is_refused(steps: int, kills: int, message: str) -> None:
    config = presets.shapes_smoke()
    prepared = PreparedData(uri="data", fingerprint="f", num_images={"train": 4}, num_quarantined={"train": 0})
    with pytest.raises(InputError, match=message):
        prove(shortened(config, steps), prepared, kills=kills)


def test_faults_come_in_turn_and_at_random_steps() -> None:
    faults = schedule(in_turn(12, KINDS, 0), 100, 0)
    counts = Counter(kind for kind, _ in faults)
    assert set(counts) == set(KINDS) and max(counts.values()) - min(counts.values()) == 1
    steps = [step for _, step in faults]
    assert steps == sorted(steps) and steps[0] >= 2 and steps[-1] <= 80
    assert faults == schedule(in_turn(12, KINDS, 0), 100, 0) != schedule(in_turn(12, KINDS, 1), 100, 1)
    assert sum(in_turn(2, KINDS, 3).values()) == 2


def test_samples_are_counted_along_the_lineage(tmp_path: Path) -> None:
    """Attempt a did steps 0–3, of which a checkpoint held two; b did 2 and 3 with two ranks."""
    uri = str(tmp_path)
    for step in range(4):
        note(uri, "a", step, 0, [10 * step, 10 * step + 1])
    for step in (2, 3):
        for rank in range(2):
            note(uri, "b", step, rank, [10 * step + rank])
    plan = Counter((step, 10 * step + n) for step in range(4) for n in range(2))
    entries = computed(uri)
    exact = consumed(entries, Progress(4, (("a", 0, 2), ("b", 2, 4))))
    assert lost_and_doubled(plan, exact) == (0, 0) and num_recomputed(entries) == 2
    assert lost_and_doubled(plan, consumed(entries, Progress(4, (("a", 0, 3), ("b", 2, 4))))) == (0, 2)
    assert lost_and_doubled(plan, consumed(entries, Progress(4, (("a", 0, 2), ("b", 3, 4))))) == (2, 0)


def test_what_a_fault_costs(tmp_path: Path) -> None:
    """Attempt a had begun steps 0–4; b began again at 3."""
    uri = str(tmp_path)
    for attempt, steps in (("a", range(5)), ("b", range(3, 8))):
        for step in steps:
            note(uri, attempt, step, 0, [step])
    entries = computed(uri)
    at = next(e.modified for e in entries if (e.attempt, e.step) == ("a", 4)) / 1e9
    fault = Fault(kind="worker", step=4, attempt="a", at=at, done="killed")
    (record,) = records_of([fault], entries, True)
    assert (record.resumed_from, record.recomputed, record.survived) == (3, 2, True)
    assert record.restart_seconds >= 0 and record.recompute_seconds > 0
    (lost,) = records_of([fault], [e for e in entries if e.attempt == "a"], False)
    assert (lost.resumed_from, lost.survived) == (-1, False)
    assert totals_of([record, lost])["worker"].survived == 1


def test_equal_states_have_equal_hashes_and_others_not() -> None:
    state, same, other = small_state(3), small_state(3), small_state(3)
    other["optimizer"]["state"][0]["exp_avg"][2, 1] += 0.25
    assert hashes_of(state) == hashes_of(same) and deviation(state, same) == 0
    assert hashes_of(state)["model"] == hashes_of(other)["model"]
    assert hashes_of(state)["optimizer"] != hashes_of(other)["optimizer"]
    assert deviation(state, other) == pytest.approx(0.25)
    del other["model"]["bias"]
    assert deviation(state, other) == float("inf")
    assert hashes_of({"a": torch.zeros(2)}) != hashes_of({"a": torch.zeros(2, dtype=torch.float64)})


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    folder = with_checkpoints(tmp_path / "run", 1, 2)
    newest = folder.checkpoints.complete()[-1]
    assert "in the checkpoint of step 2" in flip_a_bit(newest, random.Random(0))
    with pytest.raises(DamagedCheckpoint):
        stored_state(newest)


def test_a_degraded_checkpoint_loads_and_doubles_steps(tmp_path: Path) -> None:
    """Epochs of 3.5 steps: after step 6 the cursor goes back to step 4, the first of the second epoch."""
    folder = with_checkpoints(tmp_path / "run", 5, 6)
    text = degrade(folder.checkpoints, small_config(), SamplePlan(7, 2, 4, 0))
    (only,) = folder.checkpoints.complete()
    progress, state = stored_state(only)
    assert (only.step, progress.step) == (4, 4) and "cursor at step 4" in text
    assert progress.lineage == (("attempt", 0, 6),) and state["optimizer"]["state"] == {}
    assert torch.equal(state["model"]["weight"], small_state(6)["model"]["weight"])


def certificate(**changes: Any) -> Certificate:
    record = FaultRecord(
        kind="worker",
        step=4,
        done="rank 1: <b>SIGKILL</b>",
        survived=True,
        resumed_from=3,
        recomputed=2,
        restart_seconds=10.0,
        recompute_seconds=1.0,
    )
    return replace(
        Certificate(
            faults=1,
            requested=1,
            survived=1,
            identical=True,
            lost=0,
            doubled=0,
            steps_recomputed=2,
            goodput=0.5,
            by_kind=totals_of([record]),
            lost_seconds={"worker": 11.0},
            hashes={"model": ("a" * 64, "a" * 64)},
            earlier_differs=True,
            deviation=0.0,
            preset="shapes_smoke",
            steps=60,
            workers=2,
            seed=0,
            seconds=(20.0, 40.0),
            machine="here",
            date="2026-01-01",
            records=(record,),
        ),
        **changes,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"survived": 0},
        {"requested": 2},
        {"identical": False, "deviation": 1e-9},
        {"lost": 1},
        {"doubled": 1},
        {"earlier_differs": False},
        {"error": "the driver ended with exit code 1"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_when_a_certificate_holds(changes: dict[str, Any]) -> None:
    assert certificate().holds and certificate().exit_code == 0
    assert not certificate(**changes).holds and certificate(**changes).exit_code == 3


def test_a_device_that_computes_otherwise_each_time_is_measured_by_itself() -> None:
    other = {"identical": False, "deviation": 1e-6}
    assert certificate(**other, repeat_deviation=1e-6).holds
    assert not certificate(**other, repeat_deviation=1e-8).holds


def test_the_result_and_the_page_say_what_scripts_and_people_read() -> None:
    plain = json.loads(json.dumps(certificate().to_json()))
    keys = ("faults", "survived", "identical", "lost", "doubled", "steps_recomputed", "goodput")
    assert [plain[key] for key in keys] == [1, 1, True, 0, 0, 2, 0.5]
    page = render_certificate(plain, {"name": "shapes_smoke"})
    assert "Resume certificate of shapes_smoke: nothing is lost" in page and "&lt;b&gt;SIGKILL" in page
    assert "<script" not in page and "1 / 1" in page
    worse = certificate(doubled=7, is_protected=False, left_out=("outage",), error="it <broke>").to_json()
    page = render_certificate(worse, {})
    assert "does not hold" in page and "it &lt;broke&gt;" in page and "outage" in page
