"""Where models come from, and which runs saw an image, as the store alone tells."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from aunet.data.pictures import difference_hash
from aunet.errors import InputError
from pipelines.measuring.ancestry import ancestry, sightings
from pipelines.store.layout import Store
from tests.ancestors import finished_run, prepared_scenes

pytestmark = pytest.mark.usefixtures("isolation")


def test_a_model_knows_its_run_its_data_and_its_code(tmp_path: Path) -> None:
    config, prepared = prepared_scenes(tmp_path / "raw")
    run = finished_run(config, prepared, weights="backbone.pth", weights_sha256="ab" * 32)
    Store.here().run("test-1").history.append(
        [{"kind": "origin", "step": 4, "prepared": prepared.uri, "data": prepared.fingerprint, "code": "c2"}]
    )
    known = ancestry(run.model_uri)
    assert (known.run, known.config, known.prepared) == (run, config, prepared)
    assert (known.origin.code, known.origin.weights, known.origin.starts) == (("c1", "c2"), "backbone.pth", 1)
    assert known.weights_sha256 == hashlib.sha256(b"weights").hexdigest()


def test_a_copy_of_a_model_has_the_same_ancestry(tmp_path: Path) -> None:
    run = finished_run(*prepared_scenes(tmp_path / "raw"))
    copy = shutil.copytree(run.model_uri, tmp_path / "elsewhere" / "model")
    assert ancestry(str(copy)).run == run


def test_another_model_has_none(tmp_path: Path) -> None:
    config, prepared = prepared_scenes(tmp_path / "raw")
    run = finished_run(config, prepared, weights_content=b"ours")
    stranger = shutil.copytree(run.model_uri, tmp_path / "stranger")
    finished_run(config, prepared, "test-2", weights_content=b"others")
    shutil.rmtree(run.uri)
    known = ancestry(str(stranger))
    assert (known.run, known.origin.code, known.prepared) == (None, (), None)


def test_data_that_are_gone_or_others_are_not_named(tmp_path: Path) -> None:
    config, prepared = prepared_scenes(tmp_path / "raw")
    run = finished_run(config, prepared)
    shutil.rmtree(prepared.uri)
    assert ancestry(run.model_uri).prepared is None
    assert ancestry(run.model_uri).origin.data_fingerprint == prepared.fingerprint


def test_a_model_of_nobody_is_refused(tmp_path: Path) -> None:
    run = finished_run(*prepared_scenes(tmp_path / "raw"))
    model = Path(run.model_uri)
    (model / "config.json").write_text(json.dumps({"run": None}))
    hashes = json.loads((model / "sha256.json").read_text())
    hashes["config.json"] = hashlib.sha256((model / "config.json").read_bytes()).hexdigest()
    (model / "sha256.json").write_text(json.dumps(hashes))
    with pytest.raises(InputError, match="does not say by which run it was trained"):
        ancestry(run.model_uri)


def test_an_image_is_seen_by_the_runs_that_had_it(tmp_path: Path) -> None:
    config, prepared = prepared_scenes(tmp_path / "raw")
    run = finished_run(config, prepared)
    _, larger = prepared_scenes(tmp_path / "more", num_train=4)
    other = finished_run(config, larger, "test-2")
    images = sorted((tmp_path / "more/train").iterdir())
    seen_by = {
        path.name: [(s.run, s.split, s.is_same_file) for s in sightings(_sha256(path)[:12], None)] for path in images
    }
    assert all(("test-2", "train", True) in runs for runs in seen_by.values())
    assert sum(("test-1", "train", True) in runs for runs in seen_by.values()) == 3, "the scenes are the same but one"
    held_out = next((tmp_path / "raw/val").iterdir())
    assert {(s.split, s.model_uri) for s in sightings(_sha256(held_out), None)} == {
        ("val", run.model_uri),
        ("val", other.model_uri),
    }
    assert not list(sightings("0" * 64, None))


def test_a_picture_saved_again_is_seen_too(tmp_path: Path) -> None:
    finished_run(*prepared_scenes(tmp_path / "raw"))
    image = next((tmp_path / "raw/train").iterdir())
    again = tmp_path / "again.jpg"
    Image.open(image).convert("RGB").save(again, quality=70)
    look = difference_hash(Image.open(again))
    assert look is not None
    alike = [(s.file_name, s.is_same_file) for s in sightings(_sha256(again), look)]
    assert (image.name, False) in alike
    assert not list(sightings(_sha256(again), None))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
