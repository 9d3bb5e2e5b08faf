"""Documents of a run that are damaged, each one line with its cure; and Ray's list names nothing but checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.artifacts import Report, TrainedRun
from pipelines.store.run_folder import RunFolder

RUN = TrainedRun(uri="u", fingerprint="f", model_uri="m", mlflow_run_id="r", steps=3)


@pytest.fixture(params=["folder", "s3"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    root = str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue("s3")
    return RunFolder(storage.join(root, "runs", "one"))


READERS: list[tuple[Callable[[RunFolder], str], Callable[[RunFolder], Any]]] = [
    (lambda run: run.config_uri, RunFolder.config),
    (lambda run: run.events_uri, RunFolder.events),
    (lambda run: run.artifact_uri, RunFolder.trained),
    (lambda run: run.snapshot_uri, RunFolder.listed_checkpoints),
    (lambda run: storage.join(run.model_uri, "config.json"), RunFolder.model_settings),
    (lambda run: run.report().document_uri, lambda run: run.report().existing_report()),
]


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"3", b"\xff\xfe", b"[" * 100_000, b'{"step": NaN}'])
@pytest.mark.parametrize(
    ("uri_of", "read"), READERS, ids=["config", "events", "run", "snapshot", "model settings", "report"]
)
def test_a_damaged_document_is_one_line_with_the_cure(
    run: RunFolder, uri_of: Callable[[RunFolder], str], read: Callable[[RunFolder], Any], content: bytes
) -> None:
    storage.write_bytes(uri_of(run), content)
    with pytest.raises(InputError, match=r"; (restore it, or remove|delete it and|run `evaluate` again)") as caught:
        read(run)
    (problem,) = caught.value.problems
    assert problem.startswith(uri_of(run)) and problem.isprintable() and len(problem) < 500


@pytest.mark.parametrize("event", [{}, {"kind": "step"}, {"kind": "step", "step": "1"}, {"kind": 1, "step": 1}])
def test_a_line_that_is_no_event_is_named(run: RunFolder, event: dict[str, Any]) -> None:
    good = {"kind": "step", "step": 1, "loss": 2.5}
    run.write_events([good])
    assert run.events() == [good]
    run.write_events([good, event])
    with pytest.raises(InputError, match=r"events\.jsonl, line 2: not an event"):
        run.events()


@pytest.mark.parametrize("change", [{"steps": "3"}, {"steps": None}, {"uri": 1}, {"model_uri": ["m"]}, {"steps": True}])
def test_values_of_other_types_are_named(run: RunFolder, change: dict[str, Any]) -> None:
    run.finish(RUN)
    assert run.trained() == RUN
    storage.write_bytes(run.artifact_uri, json.dumps(RUN.to_json() | change).encode())
    with pytest.raises(
        InputError, match=rf"run\.json\.{next(iter(change))} = .*; delete the file and run the same again"
    ):
        run.trained()


def test_a_report_with_a_text_as_a_metric_is_damaged(run: RunFolder) -> None:
    folder = run.report()
    good = Report(uri="u", fingerprint="f", metrics={"PQ": 1.0}, html_uri="h", overlays_uri="o")
    folder.write(good, {})
    assert folder.report() == good
    storage.write_bytes(folder.document_uri, storage.read_bytes(folder.document_uri).replace(b"1.0", b'"1.0"'))
    assert folder.report() is None


def snapshot(name: Any, step: Any = 4) -> dict[str, Any]:
    result = {"checkpoint_dir_name": name, "metrics": {"step": step}}
    return {"checkpoint_results": [result], "latest_checkpoint_result": None, "pending_training_results": []}


def write(run: RunFolder, document: dict[str, Any]) -> None:
    storage.write_bytes(run.snapshot_uri, json.dumps(document).encode())


def test_checkpoints_are_listed(run: RunFolder) -> None:
    write(run, snapshot("checkpoint_2026-01-01_00-00-00.1"))
    assert run.listed_checkpoints() == {"checkpoint_2026-01-01_00-00-00.1": 4}


@pytest.mark.parametrize("where", ["results", "latest", "pending", "marked"])
@pytest.mark.parametrize(
    "name", ["../../../victim", "/victim", "..", "", "model", "checkpoint_1/../../x", "checkpoint_1\n", None, 3, ["a"]]
)
def test_rays_list_names_nothing_but_checkpoints(run: RunFolder, where: str, name: Any) -> None:
    document, result = snapshot("checkpoint_1"), snapshot(name)["checkpoint_results"][0]
    if where == "results":
        document["checkpoint_results"] = [result]
    elif where == "latest":
        document["latest_checkpoint_result"] = result
    elif where == "pending":
        document["pending_training_results"] = [result]
    else:
        document["validated_checkpoint_dir_names"] = [name]
    write(run, document)
    with pytest.raises(InputError, match=r"checkpoint_manager_snapshot\.json: .*; restore it, or remove the run"):
        run.listed_checkpoints()


@pytest.mark.parametrize("step", [None, "4", float("nan"), 1.5, True])
def test_a_step_is_a_whole_number(run: RunFolder, step: Any) -> None:
    write(run, snapshot("checkpoint_1", step))
    with pytest.raises(InputError, match="restore it, or remove the run"):
        run.listed_checkpoints()
