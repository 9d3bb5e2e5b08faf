"""Model folders, by every door: what is in one beside a trained model is not opened, and code runs only where asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aunet import Predictor, build_model
from aunet.config import AugmentConfig, FusionConfig
from aunet.errors import InputError
from pipelines import presets
from pipelines.export import export
from pipelines.measuring.models import load_predictor
from pipelines.measuring.named_models import model_folder
from pipelines.predict import predict
from pipelines.store import storage
from pipelines.store.hashes import digest, upload_hashed, write_hashes
from pipelines.training.checkpoint import save_model
from pipelines.verify import verify
from tests.cityscapes import png
from tests.hostile_files import Mark, rewritten, saved, small_program
from tests.tiny import CATEGORIES, TINY

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_program(tmp_path_factory.mktemp("program") / "model.pt2")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that exists where code was run."""
    return tmp_path / "mark"


@pytest.fixture
def hostile(program: Path, tmp_path: Path, mark: Path) -> bytes:
    return rewritten(program, tmp_path / "hostile.pt2", inputs=saved(Mark(mark))).read_bytes()


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A model folder as training writes it."""
    torch.manual_seed(0)
    augment = AugmentConfig(short_sides=(96,), max_size=128)
    predictor = Predictor(build_model(TINY, CATEGORIES), TINY, CATEGORIES, augment, FusionConfig())
    save_model(tmp_path / "trained", predictor.model.state_dict(), predictor.settings())
    return tmp_path / "trained"


def listed(folder: Path) -> None:
    write_hashes(folder)


def with_empty_list(folder: Path) -> None:
    (folder / "sha256.json").write_text("{}")


def instead_of_the_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write_hashes(folder)


def below(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "model.pt2").rename(folder / "more" / "model.pt2")


WAYS: dict[str, tuple[Change, str]] = {
    "laid beside": (lambda folder: None, r"model\.pt2: not listed in sha256\.json"),
    "in a folder below": (below, r"more/model\.pt2: not listed in sha256\.json"),
    "with an empty list": (with_empty_list, r"names no file, not config\.json and one of"),
    "listed": (listed, r"names config\.json, model\.pt2, model\.safetensors, not"),
    "instead of the weights": (instead_of_the_weights, r"model\.pt2 is a program|model\.pt2 is an export already"),
}


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue(request.param)


@pytest.mark.parametrize("way", list(WAYS))
def test_a_program_beside_a_model_is_never_opened(
    way: str, root: str, trained: Path, hostile: bytes, mark: Path, tmp_path: Path
) -> None:
    """By `predict`, `evaluate`, `export` and `verify`, and by what `register` asks of a folder."""
    change, message = WAYS[way]
    (trained / "model.pt2").write_bytes(hostile)
    change(trained)
    model, images, out = storage.join(root, "model"), storage.join(root, "images"), storage.join(root, "out")
    storage.upload_folder(trained, model)
    storage.write_bytes(storage.join(images, "a.png"), png(np.zeros((70, 90, 3), np.uint8)))
    doors: dict[str, Callable[[], object]] = {
        "predict": lambda: predict(model, images, out),
        "evaluate": lambda: load_predictor(model, presets.shapes_smoke()),
        "export": lambda: export(model, out),
        "register": lambda: digest(model),
    }
    if way == "instead of the weights":
        del doors["register"]
    for name, door in doors.items():
        with pytest.raises(InputError, match=message):
            door()
        assert not mark.exists() and not storage.exists(out), name
    verified = verify(model)
    assert verified.exit_code == (0 if way == "instead of the weights" else 2) and not mark.exists()
    if way == "laid beside":
        assert verified.problems[0].startswith(f"{model}/model.pt2: not listed in sha256.json")


def test_with_the_flag_the_hash_and_the_content_are_looked_at_first(trained: Path, hostile: bytes, mark: Path) -> None:
    (trained / "model.pt2").write_bytes(hostile)
    instead_of_the_weights(trained)
    with pytest.raises(InputError, match=r"model\.pt2: not a program that `export` wrote \(not a pickle of tensors"):
        load_predictor(str(trained), trust_exported=True)
    (trained / "model.pt2").write_bytes(hostile + b" ")
    with pytest.raises(InputError, match=r"model\.pt2: missing, or its SHA-256 is not the one"):
        load_predictor(str(trained), trust_exported=True)
    assert not mark.exists()


def test_without_the_protection_it_would_have_been_run(hostile: bytes, mark: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(hostile)
    with pytest.raises(AssertionError):
        torch.export.load(tmp_path / "model.pt2")
    assert mark.exists()


def test_another_owner_of_the_folder_cannot_make_a_list_that_leaves_it(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("anything")
    hashes = json.loads((trained / "sha256.json").read_text())
    (trained / "sha256.json").write_text(json.dumps({**hashes, "../outside": "0" * 64}))
    with pytest.raises(InputError, match=r"'\.\./outside': .* is not a file name and its SHA-256"):
        load_predictor(str(trained))


def test_nothing_large_is_fetched_before_the_list_is_checked(s3: str, trained: Path) -> None:
    model = storage.join(s3, "model")
    upload_hashed(trained, model)
    storage.write_bytes(storage.join(model, "more.bin"), bytes(1000))
    with pytest.raises(InputError, match=rf"^{model}/more\.bin: not listed"):
        load_predictor(model)


def test_a_run_and_a_model_folder_are_found(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    upload_hashed(trained, str(run / "model"))
    assert model_folder(str(run)) == model_folder(str(run / "model")) == str(run / "model")
    with pytest.raises(InputError, match=r"no model\.safetensors or model\.pt2 there; give a model folder"):
        model_folder(str(tmp_path))
