"""`submit` and `job`: what is sent, what is not, what they return, whatever the target."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from aunet.errors import InputError, Unavailable
from jobs.__main__ import main
from pipelines import presets
from pipelines.job import JobState, job
from pipelines.settings.overrides import override
from pipelines.store import storage
from pipelines.submit import submit
from pipelines.targets.job_end import JobEnd, write_end, write_logs
from pipelines.targets.submission import Jobs, State, Submission, Submitted


@dataclass
class Memory:
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

    def targets(self) -> dict[str, Callable[[str], Jobs]]:
        """This one under every name."""
        return {name: lambda namespace: self for name in ("local", "ray", "kuberay")}


@pytest.fixture
def memory() -> Memory:
    return Memory()


def call(memory: Memory, verb: str = "train", **options: Any) -> Submitted:
    base = presets.shapes_smoke()
    return submit(base, verb=verb, preset="shapes_smoke", base=base, targets=memory.targets(), **options)


def ask(memory: Memory, **options: Any) -> JobState:
    return job(id="train-x-1", targets=memory.targets(), **options)


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
        ("SUCCEEDED", "preprocess", True),
        ("FAILED", "retrain", True),
    ],
)
def test_what_is_sent_again(memory: Memory, before: str | None, verb: str, sent: bool) -> None:
    memory.before = State(before) if before else None
    result = call(memory, verb)
    assert bool(memory.sent) == result.sent == sent
    assert result.status == ("RUNNING" if sent else before)
    assert list(result.to_json()) == ["submission_id", "target", "status", "sent"] and result.exit_code == 0


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (State("SUCCEEDED", exit_code=0), 0),
        (State("FAILED", exit_code=3), 3),
        (State("FAILED", "killed"), 1),
        (State("STOPPED"), 1),
    ],
)
def test_waiting_returns_the_jobs_exit_code(memory: Memory, outcome: State, code: int) -> None:
    memory.outcome = outcome
    out, words = io.StringIO(), ["submit", "train", "shapes_smoke", "--wait", "--train.lr", "0.01"]
    assert main(words, out, function=partial(submit, targets=memory.targets())) == code
    result = json.loads(out.getvalue())
    assert (result["status"], result["exit_code"], result["sent"]) == (outcome.status, code, True)
    assert memory.sent[0].words == ("train", "shapes_smoke", "--overrides", '{"train.lr": 0.01}')


def test_a_job_that_has_succeeded_need_not_be_waited_for(memory: Memory) -> None:
    memory.before, memory.outcome = State("SUCCEEDED", exit_code=0), State("FAILED")
    result = call(memory, wait=True)
    assert result.exit_code == result.to_json()["exit_code"] == 0


def test_a_dry_run_prints_and_sends_nothing(memory: Memory) -> None:
    out, words = io.StringIO(), ["submit", "evaluate", "shapes_smoke", "--run", "s3://b/runs/x", "--dry-run"]
    assert main(words, out, function=partial(submit, targets=memory.targets())) == 0
    text, line = out.getvalue().splitlines()
    assert text == "would send: python -m jobs evaluate shapes_smoke --run s3://b/runs/x"
    result = json.loads(line)
    assert result.pop("submission_id").startswith("evaluate-shapes-smoke-") and result == {"target": "local"}
    assert not memory.sent


@pytest.mark.parametrize("verb", ["run", "tune"])
def test_every_target_gives_the_same_id(monkeypatch: pytest.MonkeyPatch, memory: Memory, verb: str) -> None:
    monkeypatch.setenv("AUNET_STORE", "s3://bucket/store")
    targets = ("local", "ray", "kuberay", "kubeflow")
    assert len({call(memory, verb, target=target, dry_run=True).submission_id for target in targets}) == 1


def test_kubeflow_is_sent_a_pipeline(memory: Memory) -> None:
    base = presets.shapes_smoke()
    options: dict[str, Any] = {"verb": "tune", "preset": "shapes_smoke", "base": base, "target": "kubeflow"}
    result = submit(override(base, {"train.lr": 0.01}), **options, dry_run=True)
    assert "pipelineInfo:\n  description: 'AUNet: raw data to registered model'" in result.text
    assert list(result.to_json()) == ["submission_id", "target", "arguments"]
    assert result.arguments == {
        "preset": "shapes_smoke",
        "overrides": "{}",
        "store": storage.store_root(),
        "tune": True,
        "loss_rpn": 1.0,
        "loss_box": 1.0,
        "loss_mask": 1.0,
        "loss_semantic": 0.5,
        "epochs": 12,
        "batch_size": 16,
        "lr": 0.01,
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verb": "train", "target": "kuberay", "now": True}, "only retrain on kuberay"),
        ({"verb": "retrain", "target": "ray", "now": True}, "only retrain on kuberay"),
        ({"verb": "retrain", "target": "kubeflow", "now": True}, "only retrain on kuberay"),
        ({"verb": "tune", "target": "kubeflow", "run": "s3://b/runs/x"}, "--run s3://b/runs/x: .* leave --run out"),
        ({"verb": "retrain", "target": "kuberay", "wait": True}, "a schedule does not end"),
    ],
)
def test_options_that_make_no_sense_are_refused(memory: Memory, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(memory, **options)


def test_job_prints_the_state_and_the_log(memory: Memory) -> None:
    memory.before = State("FAILED", "out of memory", 137)
    out, words = io.StringIO(), ["job", "--id", "train-x-1", "--target", "ray", "--logs"]
    assert main(words, out, function=partial(job, targets=memory.targets())) == 0
    log, line = out.getvalue().splitlines()
    assert log == "step 1"
    assert json.loads(line) == {
        "submission_id": "train-x-1",
        "target": "ray",
        "status": "FAILED",
        "message": "out of memory",
        "job_exit_code": 137,
    }


def keep(code: int) -> None:
    """What a job of a cluster leaves in the store when it ends."""
    write_end("train-x-1", JobEnd(when="2026-01-01T00:00:00Z", exit_code=code, lines=("error: worse",)))
    write_logs("train-x-1", {"node-1/job-driver.log": b"step 1\nstep 2\n"})


@pytest.mark.parametrize(("code", "status"), [(0, "SUCCEEDED"), (1, "FAILED"), (3, "FAILED")])
def test_a_job_whose_cluster_is_gone_is_told_by_the_store(memory: Memory, code: int, status: str) -> None:
    keep(code)
    result = ask(memory, logs=True)
    assert (result.state.status, result.state.exit_code) == (status, code)
    assert result.text == "== node-1/job-driver.log\nstep 1\nstep 2\n"
    assert ask(memory).text == ""


def test_a_job_whose_server_is_gone_is_told_by_the_store(memory: Memory, capsys: pytest.CaptureFixture[str]) -> None:
    def gone(id: str) -> State:
        raise Unavailable("http://head:8265: no job server answers")

    memory.state = gone
    for stop in (False, True):
        with pytest.raises(Unavailable):
            ask(memory, stop=stop)
    keep(0)
    assert "step 2" in ask(memory, logs=True).text
    assert "no job server answers; what follows is from the store" in capsys.readouterr().err
    with pytest.raises(Unavailable):
        ask(memory, stop=True)


def test_logs_of_pods_that_are_gone_come_from_the_store(memory: Memory) -> None:
    memory.before, memory.logs = State("SUCCEEDED"), lambda id: ""
    assert ask(memory, logs=True).text == ""
    keep(0)
    assert "step 2" in ask(memory, logs=True).text


def test_job_stops_what_runs(memory: Memory) -> None:
    memory.before = State("RUNNING")
    result = ask(memory, stop=True)
    assert result.to_json() == {"submission_id": "train-x-1", "target": "local", "status": "STOPPED"}
    assert result.text == ""


def test_an_unknown_job_is_one_line(memory: Memory) -> None:
    with pytest.raises(InputError, match="--id train-x-1: no such job on target local"):
        ask(memory)
