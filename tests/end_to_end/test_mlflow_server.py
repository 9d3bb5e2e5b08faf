"""A real MLflow server and a store that is a folder, which the server does not see: models travel through it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from aunet.config import AugmentConfig, FusionConfig
from aunet.errors import InputError
from aunet.model import build_model
from aunet.predictor import Predictor
from pipelines import presets
from pipelines.register import register
from pipelines.settings.overrides import override
from pipelines.store.artifacts import RegisteredModel, Report
from pipelines.store.hashes import digest, write_hashes
from pipelines.tracking import runs as tracking
from pipelines.tracking.database import client
from pipelines.tracking.registry import MODEL_FOLDER, alias_holder, create_version, resolve_model
from pipelines.training.checkpoint import save_model
from tests.commands import jobs_here
from tests.mlflow_server import mlflow_server
from tests.promotions import no_rehearsal
from tests.tiny import CATEGORIES, TINY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its address, and the folder in which it keeps everything."""
    folder = tmp_path_factory.mktemp("server")
    with mlflow_server(folder) as address:
        yield address, folder


@pytest.fixture(autouse=True)
def tracked(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server[0])
    return server[1]


def evaluated(folder: Path) -> Report:
    """A run with a real model and its report."""
    model = build_model(TINY, CATEGORIES, load_weights=False)
    predictor = Predictor(model, TINY, CATEGORIES, AugmentConfig(short_sides=(64,)), FusionConfig())
    folder.mkdir(parents=True)
    save_model(folder / "model", model.state_dict(), predictor.settings())
    document = {
        "metrics": {"PQ": 40.0},
        "model_uri": str(folder / "model"),
        "mlflow_run_id": tracking.start_run(folder.name, {}),
        "data_fingerprint": "abc",
        "val_fingerprint": "val1",
    }
    (folder / "report.json").write_text(json.dumps(document))
    return Report(uri=str(folder / "report.json"), fingerprint="", metrics={}, html_uri="", overlays_uri="")


def registered(name: str, tmp_path: Path) -> tuple[RegisteredModel, Path]:
    config = override(presets.shapes_smoke(), {"register.model_name": name})
    report = evaluated(tmp_path / "store/runs" / name)
    version = register(config, report, rehearse=no_rehearsal)
    assert register(config, report, rehearse=no_rehearsal) == version, "twice is once"
    return version, tmp_path / "store/runs" / name / "model"


def test_another_machine_predicts_with_the_model(tmp_path: Path) -> None:
    version, folder = registered("travels", tmp_path)
    assert (version.version, version.alias) == (1, "champion")
    assert resolve_model("models:/travels@champion") == str(folder), "the store is here: nothing is fetched"
    holder = alias_holder("travels", "champion")
    assert holder is not None and holder.model_uri == str(folder)

    sha256 = digest(str(folder))
    shutil.rmtree(tmp_path / "store")
    fetched = resolve_model("models:/travels@champion")
    assert fetched != str(folder) and digest(fetched) == sha256

    (tmp_path / "images").mkdir()
    Image.new("RGB", (96, 64)).save(tmp_path / "images/000000000001.png")
    arguments = ["--images", str(tmp_path / "images"), "--out", str(tmp_path / "out")]
    jobs_here(tmp_path / "other", "predict", "--model", "models:/travels@champion", *arguments)
    assert (tmp_path / "out/panoptic/000000000001.png").exists()


def test_a_store_that_has_another_model_there_is_not_asked(tmp_path: Path) -> None:
    _, folder = registered("collides", tmp_path)
    sha256 = digest(str(folder))
    (folder / "config.json").write_text("{}")
    write_hashes(folder)
    fetched = resolve_model("models:/collides/1")
    assert fetched != str(folder) and digest(fetched) == sha256


def test_a_model_that_was_changed_on_the_server_is_refused(tmp_path: Path, tracked: Path) -> None:
    registered("changed", tmp_path)
    shutil.rmtree(tmp_path / "store")
    version = alias_holder("changed", "champion")
    assert version is not None
    (hashes,) = tracked.glob(f"artifacts/*/{version.run_id}/artifacts/*/sha256.json")
    hashes.write_text(json.dumps({**json.loads(hashes.read_text()), "config.json": "0" * 64}))
    with pytest.raises(InputError, match=r"models:/changed/1: version 1 is at .* not what was registered"):
        resolve_model("models:/changed/1")


def test_an_upload_that_was_interrupted_is_completed(tmp_path: Path, tracked: Path) -> None:
    """The list comes last: without it the artifacts are no model."""
    report = evaluated(tmp_path / "store/runs/begun")
    document = json.loads(Path(report.uri).read_text())
    run, folder = document["mlflow_run_id"], document["model_uri"]
    sha256 = digest(folder)
    client().log_artifact(run, f"{folder}/config.json", f"model-{sha256[:16]}")
    version = create_version(folder, "begun", run, {"model_sha256": sha256})
    assert version.tags[MODEL_FOLDER] == folder == version.model_uri
    shutil.rmtree(folder)
    assert digest(resolve_model("models:/begun/1")) == sha256


def test_a_run_that_the_server_does_not_know_is_one_line(tmp_path: Path) -> None:
    report = evaluated(tmp_path / "store/runs/lost")
    document = json.loads(Path(report.uri).read_text())
    Path(report.uri).write_text(json.dumps({**document, "mlflow_run_id": "0" * 32}))
    with pytest.raises(InputError, match=r"0{32}.* not found; name the server that it was tracked on"):
        register(override(presets.shapes_smoke(), {"register.model_name": "lost"}), report)
