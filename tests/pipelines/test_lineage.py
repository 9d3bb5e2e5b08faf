"""`lineage`, as people call it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.lineage import ImageLineage, ModelLineage, lineage
from tests.ancestors import finished_run, prepared_scenes

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
    assert not lineage(image="0" * 64).to_json()["seen"]
    assert "no run of this store saw it" in capsys.readouterr().err


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
