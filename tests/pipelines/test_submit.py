"""`submit` and `job`: what is sent, what is not, what they say, whatever the target."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from aunet.errors import InputError
from jobs.__main__ import main
from pipelines import presets, submit as submitting
from pipelines.job import job
from pipelines.submit import submit
from pipelines.targets.submission import State, Submission


@dataclass
class Place:
    """A target that keeps its jobs in memory; what is sent runs, and what is followed ends as `outcome`."""

    before: State | None = None
    outcome: State = field(default_factory=lambda: State("SUCCEEDED", exit_code=0))
    sent: list[Submission] = field(default_factory=list)

    def render(self, submission: Submission) -> str:
        return f"would send: {submission.command('python')}\n"

    def state(self, id: str) -> State | None:
        return State("RUNNING") if self.sent else self.before

    def send(self, submission: Submission) -> None:
        self.sent.append(submission)

    def follow(self, id: str) -> State:
        return self.outcome

    def logs(self, id: str) -> str:
        return "step 1"

    def stop(self, id: str) -> None:
        self.before = State("STOPPED")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place()
    monkeypatch.setattr(submitting, "place", lambda target, namespace: made)
    monkeypatch.setattr("pipelines.job.place", lambda target, namespace: made)
    return made


def call(verb: str = "train", **options: Any) -> dict[str, Any]:
    return submit(presets.shapes_smoke(), verb=verb, preset="shapes_smoke", **options)


@pytest.mark.parametrize(
    ("before", "verb", "sent"),
    [
        (None, "train", True),
        ("PENDING", "train", False),
        ("RUNNING", "train", False),
        ("SUCCEEDED", "train", False),
        ("FAILED", "train", True),
        ("STOPPED", "train", True),
        ("RUNNING", "retrain", False),
        ("SUCCEEDED", "retrain", True),
        ("FAILED", "retrain", True),
    ],
)
def test_what_is_sent_again(place: Place, before: str | None, verb: str, sent: bool) -> None:
    place.before = State(before) if before else None
    result = call(verb)
    assert bool(place.sent) == result["sent"] == sent
    assert result["status"] == ("RUNNING" if sent else before)
    assert "exit_code" not in result


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (State("SUCCEEDED", exit_code=0), 0),
        (State("FAILED", exit_code=3), 3),
        (State("FAILED", "killed"), 1),
        (State("STOPPED"), 1),
    ],
)
def test_waiting_returns_the_jobs_exit_code(place: Place, outcome: State, code: int) -> None:
    place.outcome = outcome
    out = io.StringIO()
    assert main(["submit", "train", "shapes_smoke", "--wait", "--train.lr", "0.01"], out) == code
    result = json.loads(out.getvalue())
    assert (result["status"], result["exit_code"], result["sent"]) == (outcome.status, code, True)
    assert place.sent[0].words == ("train", "shapes_smoke", "--overrides", '{"train.lr": 0.01}')


def test_a_job_that_has_succeeded_need_not_be_waited_for(place: Place) -> None:
    place.before, place.outcome = State("SUCCEEDED", exit_code=0), State("FAILED")
    assert call(wait=True)["exit_code"] == 0


def test_a_dry_run_prints_and_sends_nothing(place: Place) -> None:
    out = io.StringIO()
    assert main(["submit", "evaluate", "shapes_smoke", "--run", "s3://b/runs/x", "--dry-run"], out) == 0
    text, line = out.getvalue().splitlines()
    assert text == "would send: python -m jobs evaluate shapes_smoke --run s3://b/runs/x"
    assert json.loads(line)["submission_id"].startswith("evaluate-shapes-smoke-")
    assert not place.sent


def test_every_target_gives_the_same_id(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    assert len({call(target=target, dry_run=True)["submission_id"] for target in ("local", "ray", "kuberay")}) == 1


def test_kubeflow_has_its_own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def pipeline(config: Any, preset: str, verb: str, dry_run: bool) -> dict[str, Any]:
        return {"asked": (config.name, preset, verb, dry_run)}

    monkeypatch.setattr("pipelines.targets.kubeflow.submit_pipeline", pipeline)
    assert call("run", target="kubeflow", dry_run=True) == {"asked": ("shapes_smoke", "shapes_smoke", "run", True)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"verb": "train", "target": "kuberay", "now": True}, "only retrain on kuberay"),
        ({"verb": "retrain", "target": "ray", "now": True}, "only retrain on kuberay"),
        ({"verb": "retrain", "target": "kuberay", "wait": True}, "a schedule does not end"),
    ],
)
def test_options_that_make_no_sense_are_refused(place: Place, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call(**options)


def test_job_tells_the_state_and_the_log(place: Place) -> None:
    place.before = State("FAILED", "out of memory", 137)
    out = io.StringIO()
    assert main(["job", "--id", "train-x-1", "--target", "ray", "--logs"], out) == 0
    log, line = out.getvalue().splitlines()
    assert log == "step 1"
    assert json.loads(line) == {
        "submission_id": "train-x-1", "target": "ray", "status": "FAILED", "message": "out of memory",
        "job_exit_code": 137,
    }  # fmt: skip


def test_job_stops_what_runs(place: Place) -> None:
    place.before = State("RUNNING")
    assert job(id="train-x-1", stop=True)["status"] == "STOPPED"


def test_an_unknown_job_is_one_line(place: Place) -> None:
    with pytest.raises(InputError, match="--id train-x-1: no such job on target local"):
        job(id="train-x-1")
