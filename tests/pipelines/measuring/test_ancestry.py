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
from pipelines.data.manifest import Manifest
from pipelines.measuring.ancestry import Sighting, ancestry, sightings
from pipelines.settings.overrides import override
from pipelines.store.hashes import digest
from pipelines.store.layout import Store
from tests.ancestors import finished_run, prepared_scenes, reported

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
    seen_by = {path.name: [(s.run, s.split, s.is_same_file) for s in _seen(_sha256(path)[:12])] for path in images}
    assert all(("test-2", "train", True) in runs for runs in seen_by.values())
    assert sum(("test-1", "train", True) in runs for runs in seen_by.values()) == 3, "the scenes are the same but one"
    held_out = next((tmp_path / "raw/val").iterdir())
    assert {(s.split, s.model_uri) for s in _seen(_sha256(held_out))} == {
        ("val", run.model_uri),
        ("val", other.model_uri),
    }
    assert not _seen("0" * 64)


def test_who_began_with_a_model_saw_its_images(tmp_path: Path) -> None:
    """Directly or through another, and as little is known of them as of those that they began with."""
    config, prepared = prepared_scenes(tmp_path / "raw")
    other_config, other = prepared_scenes(tmp_path / "other", seed=9)
    base = finished_run(config, prepared, "base")
    starts = override(other_config, {"model.init_from": "models:/any/1"})
    first = finished_run(starts, other, "first", weights_content=b"1", weights_sha256=digest(base.model_uri))
    finished_run(starts, other, "second", weights_content=b"2", weights_sha256=digest(first.model_uri))
    finished_run(other_config, other, "stranger", weights_content=b"3", weights_sha256="0" * 64)
    image = _sha256(next((tmp_path / "raw/train").iterdir()))
    assert {(s.run, s.through) for s in _seen(image)} == {("base", ""), ("first", "base"), ("second", "base")}
    assert [s.model_uri for s in _seen(image) if s.run == "first"] == [first.model_uri]
    held_out = _sha256(next((tmp_path / "raw/val").iterdir()))
    assert {s.run for s in _seen(held_out)} == {"base"}, "nothing was learned from what it was measured on"
    shutil.rmtree(prepared.uri)
    seen, unknown = sightings(image, None)
    assert seen == [] and sorted(one.run for one in unknown) == ["base", "first", "second"]
    shutil.rmtree(base.uri)
    _, unknown = sightings(image, None)
    assert {one.run for one in unknown} == {"first", "second"} and "is that of no run in this store" in unknown[0].why


def test_a_picture_saved_again_is_seen_too(tmp_path: Path) -> None:
    finished_run(*prepared_scenes(tmp_path / "raw"))
    image = next((tmp_path / "raw/train").iterdir())
    again = tmp_path / "again.jpg"
    Image.open(image).convert("RGB").save(again, quality=70)
    look = difference_hash(Image.open(again))
    assert look is not None
    alike = [(s.file_name, s.is_same_file) for s in _seen(_sha256(again), look)]
    assert (image.name, False) in alike
    assert not _seen(_sha256(again))


def test_a_run_that_cannot_be_searched_is_named(tmp_path: Path) -> None:
    """Its data are removed, replaced or damaged, or nobody knows them: it may have seen the image."""
    config, prepared = prepared_scenes(tmp_path / "raw")
    run = finished_run(config, prepared)
    image = _sha256(next((tmp_path / "raw/train").iterdir()))
    manifest, index = Path(prepared.uri, "manifest.json"), next(Path(prepared.uri).glob("train-*.index.parquet"))
    _, larger = prepared_scenes(tmp_path / "more", num_train=4)
    content = manifest.read_bytes()
    spoiled = {
        "are gone; restore them, or treat its model as one that saw the image": (manifest, None),
        "damaged ": (manifest, content.replace(b"sha256", b"sha255", 1)),
        f"data are {larger.fingerprint} now, not {prepared.fingerprint}; ": (
            manifest,
            Path(larger.uri, "manifest.json").read_bytes(),
        ),
        "the index is damaged": (index, b"x"),
        "no event says what it was trained on": (Path(run.uri, "events/000001.jsonl"), b""),
    }
    for why, (path, changed) in spoiled.items():
        before = path.read_bytes()
        path.unlink() if changed is None else path.write_bytes(changed)
        seen, (unsearched,) = sightings(image, None)
        assert (seen, unsearched.run, unsearched.model_uri) == ([], "test-1", run.model_uri), why
        assert why in unsearched.why
        path.write_bytes(before)
    assert len(_seen(image)) == 1


def test_of_a_run_that_has_not_begun_to_train_all_is_known(tmp_path: Path) -> None:
    folder = Store.here().run("test-1")
    folder.write_config({})
    assert sightings("0" * 64, None) == ([], [])
    Path(folder.checkpoints.new(4).uri).mkdir(parents=True)
    assert [one.run for one in sightings("0" * 64, None)[1]] == ["test-1"]


def test_a_run_saw_what_it_was_measured_on(tmp_path: Path) -> None:
    """On the frozen set, of which the data that it was trained on hold nothing any more."""
    config, prepared = prepared_scenes(tmp_path / "raw")
    _, frozen = prepared_scenes(tmp_path / "frozen", seed=1)
    run = finished_run(config, prepared)
    validation = Manifest.load(frozen.uri).split_fingerprint("val")
    reported(run, frozen, validation)
    held_out, others = (next((tmp_path / "frozen" / split).iterdir()) for split in ("val", "train"))
    (seen,) = _seen(_sha256(held_out))
    assert (seen.run, seen.split, seen.prepared_uri) == ("test-1", "val", frozen.uri)
    assert not _seen(_sha256(others)), "a report is on the validation split alone"

    shutil.rmtree(frozen.uri)
    nothing, (unsearched,) = sightings(_sha256(held_out), None)
    assert not nothing and f"{frozen.uri}: the prepared data are gone" in unsearched.why
    own = Manifest.load(prepared.uri).split_fingerprint("val")
    reported(run, frozen, validation, val_fingerprint=own)
    assert sightings(_sha256(held_out), None) == ([], []), "these images are in the run's own data, and were searched"
    reported(run, frozen, validation, val_fingerprint=None)
    assert "lacks val_fingerprint" in sightings(_sha256(held_out), None)[1][0].why


def test_a_report_of_an_earlier_version_names_its_data_by_their_hash(tmp_path: Path) -> None:
    config, prepared = prepared_scenes(tmp_path / "raw")
    _, frozen = prepared_scenes(tmp_path / "frozen", seed=1)
    run = finished_run(config, prepared)
    shutil.copytree(frozen.uri, Store.here().pool.prepared(frozen.fingerprint).uri)
    reported(run, frozen, Manifest.load(frozen.uri).split_fingerprint("val"), prepared_uri=None)
    (seen,) = _seen(_sha256(next((tmp_path / "frozen/val").iterdir())))
    assert (seen.run, seen.split) == ("test-1", "val")


def _seen(sha256: str, look: int | None = None) -> list[Sighting]:
    """Those of a store in which every run can be searched."""
    seen, unsearched = sightings(sha256, look)
    assert unsearched == []
    return seen


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
