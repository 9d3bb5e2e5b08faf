"""Reports and model folders that `register` refuses, before anything is written."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines import presets
from pipelines.register import register
from pipelines.settings.overrides import override
from pipelines.tracking.database import client
from tests.canaries import URIS, leaks
from tests.promotions import make_report

CONFIG = override(presets.shapes_smoke(), {"register.model_name": "aunet"})
pytestmark = pytest.mark.usefixtures("mlflow_store")


@pytest.fixture
def evaluated(tmp_path: Path) -> Any:
    """Makes a run with a report of the given PQ; returns the report."""
    return partial(make_report, tmp_path / "store/runs")


@pytest.mark.parametrize(
    ("pq", "changes", "message"),
    [
        (float("nan"), {}, "NaN is not a number of JSON"),
        (True, {}, r"metrics\.PQ = True: give a value of type float; run `evaluate` again"),
        ("40", {}, r"metrics\.PQ = '40': give a value of type float"),
        (-1.0, {}, "PQ = -1.0"),
        (1e9, {}, "PQ = 1000000000.0"),
        (40.0, {"metrics": []}, r"metrics = \[\]: give an object"),
        (40.0, {"mlflow_run_id": 7}, "mlflow_run_id = 7: give a value of type str"),
        (40.0, {"val_fingerprint": ["x"]}, "val_fingerprint = "),
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
    with pytest.raises(InputError, match=r"not JSON .*run `evaluate` again"):
        register(CONFIG, report)


@pytest.mark.parametrize("uri", [7, "../../etc", "model", "", "s3://", "ftp://host/model", "models:/aunet/1", "/etc"])
def test_a_model_uri_that_names_no_model_is_refused_before_anything_is_written(evaluated, uri: Any) -> None:
    with pytest.raises(InputError, match=r"model_uri = .*run `evaluate` again"):
        register(CONFIG, evaluated("bad", 40.0, model_uri=uri))
    assert client().search_registered_models() == []


def test_a_model_uri_of_null_is_refused(evaluated) -> None:
    report = evaluated("bad", 40.0)
    document = json.loads(Path(report.uri).read_text())
    Path(report.uri).write_text(json.dumps({**document, "model_uri": None}))
    with pytest.raises(InputError, match=r"model_uri = None: give a value of type str; run `evaluate` again"):
        register(CONFIG, report)


@pytest.mark.parametrize("shape", URIS)
def test_credentials_in_a_model_uri_are_not_repeated(evaluated, shape: str) -> None:
    with pytest.raises(InputError, match="model_uri = ") as refused:
        register(CONFIG, evaluated("bad", 40.0, model_uri=URIS[shape]))
    assert leaks(str(refused.value)) == []
    assert client().search_registered_models() == []


@pytest.mark.parametrize("damage", ["no list", "an empty list", "no weights in the list", "an unlisted file"])
def test_an_incomplete_model_folder_is_refused(evaluated, damage: str) -> None:
    report = evaluated("bad", 40.0)
    folder = Path(report.uri).parent / "model"
    if damage == "no list":
        (folder / "sha256.json").unlink()
    elif damage == "an unlisted file":
        (folder / "model.pt2").write_bytes(b"code")
    else:
        hashes = json.loads((folder / "sha256.json").read_text())
        (folder / "sha256.json").write_text(
            json.dumps({} if damage == "an empty list" else {"config.json": hashes["config.json"]})
        )
    with pytest.raises(InputError, match="model_uri = "):
        register(CONFIG, report)
    assert client().search_registered_models() == []
