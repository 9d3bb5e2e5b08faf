"""`lineage`, as people call it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from jobs.__main__ import main
from pipelines.lineage import ImageLineage, ModelLineage, lineage
from pipelines.store.hashes import digest
from pipelines.store.layout import Store
from tests.ancestors import finished_run, prepared_scenes
from tests.promotions import entry

pytestmark = pytest.mark.usefixtures("isolation")


def test_a_model_tells_all_that_it_is_made_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, prepared = prepared_scenes(tmp_path / "raw")
    run = finished_run(config, prepared, weights="backbone.pth", weights_sha256="ab" * 32)
    result = lineage(run.uri)
    assert isinstance(result, ModelLineage)
    plain, printed = result.to_json(), capsys.readouterr().err
    assert plain["data"]["images"] == {"train": 3, "val": 2}
    assert plain["base_weights"] == {"name": "backbone.pth", "sha256": "ab" * 32}
    assert (plain["ledger"], plain["report"]) == ([], None)
    assert plain["reproduce"] == f"python -m jobs reproduce {run.uri}"
    for fact in (prepared.fingerprint, "c1", "torch 2", "ab" * 32, plain["reproduce"]):
        assert fact in printed


def test_an_image_by_hash_and_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(*prepared_scenes(tmp_path / "raw"))
    image = next((tmp_path / "raw/train").iterdir())
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    by_hash, by_file = lineage(image=sha256[:16].upper()), lineage(image=str(image))
    assert isinstance(by_hash, ImageLineage)
    assert isinstance(by_file, ImageLineage)
    assert by_hash.models == by_file.models == [run.model_uri]
    assert by_file.image == sha256
    assert "test-1: trained on it, image" in capsys.readouterr().err
    denied = lineage(image="0" * 64)
    assert not denied.to_json()["seen"] and not denied.to_json()["unknown"] and denied.exit_code == 0
    assert "no run of this store saw it" in capsys.readouterr().err


def test_an_image_is_not_denied_where_a_run_cannot_be_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, prepared = prepared_scenes(tmp_path / "raw")
    run, out = finished_run(config, prepared), io.StringIO()
    shutil.rmtree(prepared.uri)
    assert main(["lineage", "--image", "0" * 64], out) == 2
    plain, printed = json.loads(out.getvalue().splitlines()[-1]), capsys.readouterr().err
    assert (plain["seen"], plain["models"]) == ([], [])
    assert [(one["run"], one["model_uri"]) for one in plain["unknown"]] == [("test-1", run.model_uri)]
    assert f"test-1: not known whether it saw it: {prepared.uri}: the prepared data are gone" in printed
    assert "no run of this store saw it" not in printed


def test_a_model_has_the_entries_of_every_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under whatever name and alias it was registered, which its own settings need not say."""
    run = finished_run(*prepared_scenes(tmp_path / "raw"))
    own: dict[str, Any] = {"model_uri": run.model_uri, "model_sha256": digest(run.model_uri)}
    first = Store.here().ledger("prod").append(entry("anna", **own), None)
    Store.here().ledger("prod").append(entry("berta"), first)
    Store.here().ledger("prod", "night").append(entry("carla", **own), None)
    plain = lineage(run.uri).to_json()
    assert [(one["ledger"], one["number"], one["who"]) for one in plain["ledger"]] == [
        ("prod@champion", 1, "anna"),
        ("prod@night", 1, "carla"),
    ]
    printed = capsys.readouterr().err
    assert "prod@champion 1  promote by anna" in printed and "prod@night 1  promote by carla" in printed


@pytest.mark.parametrize(
    ("model", "image", "message"),
    [
        (None, None, "name a model, or an image"),
        ("x", "y", "and not both"),
        (None, "no-such-file", "neither a file nor a SHA-256"),
        (None, __file__, "give a JPEG or PNG"),
        ("no-such-model", None, "no-such-model"),
    ],
)
def test_what_cannot_be_answered(model: str | None, image: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lineage(model, image)
