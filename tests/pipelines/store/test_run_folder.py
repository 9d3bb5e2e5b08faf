"""Documents of a run that are damaged, each one line with its cure."""

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
    (lambda run: run.history.joined_uri, lambda run: run.history.events()),
    (lambda run: run.artifact_uri, RunFolder.trained),
    (lambda run: storage.join(run.model_uri, "config.json"), RunFolder.model_settings),
    (lambda run: run.report().document_uri, lambda run: run.report().existing_report()),
]


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"3", b"\xff\xfe", b"[" * 100_000, b'{"step": NaN}'])
@pytest.mark.parametrize(("uri_of", "read"), READERS, ids=["config", "events", "run", "model settings", "report"])
def test_a_damaged_document_is_one_line_with_the_cure(
    run: RunFolder, uri_of: Callable[[RunFolder], str], read: Callable[[RunFolder], Any], content: bytes
) -> None:
    storage.write_bytes(uri_of(run), content)
    cure = r"; (restore it, or remove|delete it and|delete this file|run `evaluate` again)"
    with pytest.raises(InputError, match=cure) as caught:
        read(run)
    (problem,) = caught.value.problems
    assert problem.startswith(uri_of(run)) and problem.isprintable() and len(problem) < 500


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
