"""Registering evaluated runs: versions, the gate before the alias, and reports that are not there."""

import json
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines import presets
from pipelines.evaluate import find_report
from pipelines.register import register, update_figures
from pipelines.settings.overrides import override
from pipelines.store.artifacts import Report, TrainedRun
from pipelines.tracking import runs as tracking
from pipelines.tracking.database import client
from pipelines.tracking.registry import alias_holder, resolve_model

CONFIG = override(presets.shapes_smoke(), {"register.margin": 0.5, "register.model_name": "aunet"})


pytestmark = pytest.mark.usefixtures("mlflow_store")


@pytest.fixture
def evaluated(tmp_path: Path) -> Any:
    """Makes a run with a report of the given PQ; returns the report."""

    def make(name: str, pq: Any, **changes: Any) -> Report:
        folder = tmp_path / "store/runs" / name
        (folder / "model").mkdir(parents=True)
        report = {
            "metrics": {"PQ": pq, "PQ_th": 30.0, "AP": float("nan")},
            "per_class": [],
            "model_uri": str(folder / "model"),
            "mlflow_run_id": tracking.start_run(name, {}),
            "data_fingerprint": "abc",
            "val_fingerprint": "val1",
            **changes,
        }
        (folder / "report.json").write_text(json.dumps({key: v for key, v in report.items() if v is not None}))
        uri = str(folder / "report.json")
        return Report(uri=uri, fingerprint="", metrics={}, html_uri="", overlays_uri="")

    return make


def test_the_alias_moves_only_for_a_better_model(evaluated, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first = register(CONFIG, evaluated("first", 40.0))
    assert (first.uri, first.name, first.version, first.alias) == ("models:/aunet/1", "aunet", 1, "champion")
    assert first.fingerprint == "first"

    near = register(CONFIG, evaluated("near", 40.4))
    assert (near.version, near.alias) == (2, None)
    assert "champion stays with version 1" in capsys.readouterr().err
    assert resolve_model("models:/aunet@champion") == str(tmp_path / "store/runs/first/model")

    better = register(CONFIG, evaluated("better", 40.5))
    assert (better.version, better.alias) == (3, "champion")
    assert resolve_model("models:/aunet@champion") == str(tmp_path / "store/runs/better/model")
    assert resolve_model("models:/aunet/2") == str(tmp_path / "store/runs/near/model")


def test_twice_is_once(evaluated) -> None:
    report = evaluated("only", 40.0)
    assert register(CONFIG, report) == register(CONFIG, report)
    assert len(client().search_model_versions("name='aunet'")) == 1


def test_a_version_carries_its_figures_and_its_data(evaluated) -> None:
    register(CONFIG, evaluated("only", 40.0))
    (version,) = client().search_model_versions("name='aunet'")
    assert version.tags == {
        "PQ": "40.0000",
        "PQ_th": "30.0000",
        "data_fingerprint": "abc",
        "val_fingerprint": "val1",
        "decision": "promoted",
        "reason": "champion is version 1 with PQ 40.00; nobody held it before",
    }


def test_figures_of_other_validation_data_are_not_compared(evaluated, tmp_path: Path) -> None:
    register(CONFIG, evaluated("first", 40.0))
    other = evaluated("other", 90.0, val_fingerprint="val2")
    held = register(CONFIG, other)
    assert (held.version, held.alias) == (2, None)
    for words in ("stays with version 1", "PQ 40.00 is of validation data val1", "PQ 90.00 of version 2 of val2"):
        assert words in held.reason

    champion = alias_holder("aunet", "champion")
    assert champion is not None
    update_figures(champion, evaluated("again", 41.0, val_fingerprint="val2"))
    model = register(CONFIG, other)
    assert model.alias == "champion"
    assert model.reason == "champion moves to version 2: PQ 90.00 against version 1's 41.00 with margin 0.5"
    tags = client().get_model_version("aunet", "2").tags
    assert (tags["decision"], tags["reason"]) == ("promoted", model.reason)


def test_a_holder_without_known_validation_data_is_not_compared(evaluated) -> None:
    register(CONFIG, evaluated("first", 40.0))
    client().delete_model_version_tag("aunet", "1", "val_fingerprint")
    assert register(CONFIG, evaluated("better", 90.0)).alias is None


def test_what_was_decided_is_reported_again(evaluated, capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluated("only", 40.0)
    first, again = register(CONFIG, report), register(CONFIG, report)
    assert again == first
    assert f"register aunet: champion is version 1, as before: {first.reason}" in capsys.readouterr().err


def test_nobody_holds_an_alias_of_a_model_that_is_not_there(evaluated) -> None:
    assert alias_holder("aunet", "champion") is None
    register(CONFIG, evaluated("only", 40.0))
    assert alias_holder("aunet", "best") is None


def test_unknown_versions_and_aliases_are_named(evaluated) -> None:
    register(CONFIG, evaluated("only", 40.0))
    for uri in ("models:/aunet/7", "models:/aunet@best"):
        with pytest.raises(InputError, match=r"there are versions 1 and aunet@champion"):
            resolve_model(uri)


def test_a_run_without_report_is_refused(tmp_path: Path) -> None:
    uri = str(tmp_path / "nowhere")
    run = TrainedRun(uri=uri, fingerprint="", model_uri="", mlflow_run_id="", steps=1)
    with pytest.raises(InputError, match=r"nowhere/report\.json: no report; run `evaluate` on this run first"):
        find_report(run)


@pytest.mark.parametrize(
    ("pq", "changes", "message"),
    [
        (float("nan"), {}, "PQ = nan"),
        (None, {"metrics": {}}, "PQ = None"),
        (
            40.0,
            {"model_uri": None, "data_fingerprint": None},
            "lacks model_uri, data_fingerprint; run `evaluate` again",
        ),
    ],
)
def test_a_bad_report_is_refused(evaluated, pq: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        register(CONFIG, evaluated("bad", pq, **changes))


def test_a_cut_report_is_refused(evaluated) -> None:
    report = evaluated("cut", 40.0)
    Path(report.uri).write_text(Path(report.uri).read_text()[:30])
    with pytest.raises(InputError, match="not a report"):
        register(CONFIG, report)
