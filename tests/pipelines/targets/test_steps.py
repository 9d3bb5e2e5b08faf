"""What the steps of a pipeline call, and what they make of the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig, fingerprint
from pipelines.targets import steps


def test_a_step_asks_for_the_result_of_a_finished_job() -> None:
    called: list[list[str]] = []

    def command(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
        called.append(words)
        assert environment["AUNET_STORE"] == "s3://bucket"
        return {"uri": "s3://bucket/runs/x"}

    result = steps.run_step("train", "coco_r50", "{}", "kuberay", "s3://bucket", command)
    words = ["coco_r50", "--overrides", "{}"]
    assert called == [["submit", "train", *words, "--target", "kuberay", "--wait"], ["train", *words]]
    assert result == {"uri": "s3://bucket/runs/x"}


def test_a_step_in_an_image_of_other_code_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUNET_CODE", "0123456789ab")
    with pytest.raises(InputError, match=r"the image holds code .*, but the job was submitted from code 0123456789ab"):
        steps.run_step("train", "coco_r50", "{}", "kuberay", "s3://bucket", lambda words, environment: {})


def test_parameters_are_laid_over_the_settings_and_found_weights_over_both(tmp_path: Path) -> None:
    (tmp_path / "overrides.json").write_text('{"loss.semantic": 0.7}')
    called: list[list[str]] = []

    def command(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
        called.append(words)
        return {"overrides": str(tmp_path / "overrides.json")}

    given = ("coco_r50", '{"train.epochs": 3, "train.momentum": 0.8}', "local", "s3://bucket")
    parameters = {"epochs": 5, "loss_semantic": 0.1}
    plain = json.loads(steps.settled(*given, False, parameters, command))
    assert plain == {"train.epochs": 5, "train.momentum": 0.8, "loss.semantic": 0.1} and called == []
    tuned = json.loads(steps.settled(*given, True, parameters, command))
    assert tuned == {**plain, "loss.semantic": 0.7} and called[0][0] == "tune"


def test_a_parameter_without_a_point_is_the_same_run() -> None:
    """Kubeflow passes 1.0 on as 1: the step that follows its RayJob must find the RayJob's run."""
    base = presets.shapes_smoke()
    values = steps.parameter_values(base)
    parameters = {name: int(value) if value == int(value) else value for name, value in values.items()}
    assert isinstance(parameters["loss_rpn"], int)
    plain = json.loads(steps.settled("shapes_smoke", "{}", "kuberay", "s3://bucket", False, parameters))
    assert fingerprint(override(base, plain)) == fingerprint(base) and plain


def test_a_report_is_copied_to_where_kubeflow_shows_it(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<h1>39.6</h1>")
    result = {"html_uri": str(tmp_path / "report.html"), "PQ": 39.6}
    page = tmp_path / "artifacts" / "report"
    assert steps.measure_step("x", "{}", "local", "s", str(page), lambda words, environment: result) == result
    assert page.read_text() == "<h1>39.6</h1>"


def test_a_model_stays_in_the_store_and_its_artifact_names_it(tmp_path: Path) -> None:
    result = {"model_uri": "s3://bucket/runs/x/model", "uri": "s3://bucket/runs/x", "steps": 9, "mlflow_run_id": "7"}
    card = tmp_path / "artifacts" / "model"
    shown = steps.train_step("x", "{}", "local", "s", str(card), lambda words, environment: result)
    assert shown["model_uri"] == card.read_text() == "s3://bucket/runs/x/model"
    assert (shown["run"], shown["steps"], shown["mlflow_run"]) == ("s3://bucket/runs/x", 9, "7")


def test_a_step_that_fails_names_its_command(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"python -m jobs train nobody .*: exit code 2"):
        steps.run_step("train", "nobody", "{}", "local", str(tmp_path))


def test_found_weights_are_laid_over_the_settings(tmp_path: Path) -> None:
    (tmp_path / "overrides.json").write_text('{"loss.semantic": 0.5}')
    merged = steps.merged_overrides('{"loss.semantic": 1.0, "train.epochs": 3}', str(tmp_path / "overrides.json"))
    config: RunConfig = override(presets.coco_r50(), json.loads(merged))
    assert (config.loss.semantic, config.train.epochs) == (0.5, 3)


def test_the_outcome_is_in_the_store(tmp_path: Path) -> None:
    steps.record_outcome("FAILED", "train: exit code 1", "coco_r50", str(tmp_path))
    file = tmp_path / "pipelines" / "coco_r50.json"
    assert json.loads(file.read_text()) == {"preset": "coco_r50", "state": "FAILED", "message": "train: exit code 1"}
    steps.record_outcome("COMPLETE", "", "coco_r50", str(tmp_path))
    assert json.loads(file.read_text())["state"] == "SUCCEEDED", "as Kubeflow's driver says it"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"loss.semantic": NaN}'])
def test_damaged_overrides_of_a_search_are_one_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "overrides.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"overrides\.json: .*; run `tune` again"):
        steps.merged_overrides("{}", str(path))
