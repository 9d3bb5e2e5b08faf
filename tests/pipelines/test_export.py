"""The verb `export`: what it writes, what `predict` makes of it, and when it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from aunet import Predictor, build_model
from aunet.config import AugmentConfig, FusionConfig
from aunet.data.coco_panoptic import encode_panoptic
from aunet.errors import InputError, Refused
from aunet.model.background import SemanticOutput
from pipelines.export import _check, export
from pipelines.measuring.parity import TOLERANCE, differences
from pipelines.predict import predict
from pipelines.training.checkpoint import save_model
from tests.cityscapes import png
from tests.disks import small_disk
from tests.tiny import CATEGORIES, TINY

EXACT = {**dict.fromkeys(TOLERANCE, 0.0), "panoptic": 1.0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as training writes it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    augment, fusion = AugmentConfig(short_sides=(96,), max_size=128), FusionConfig(score_threshold=0.3, stuff_area=16)
    predictor = Predictor(build_model(TINY, CATEGORIES), TINY, CATEGORIES, augment, fusion)
    save_model(folder, predictor.model.state_dict(), predictor.settings())
    return folder


def test_an_exported_model_predicts_as_before(trained: Path, tmp_path: Path) -> None:
    result = export(str(trained), str(tmp_path / "exported"))
    file = Path(result.file)
    assert sorted(p.name for p in file.parent.iterdir()) == ["config.json", "model.pt2", "sha256.json"]
    assert (file.parent / "config.json").read_text() == (trained / "config.json").read_text()
    assert result.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert result.bytes == file.stat().st_size
    parity = result.parity
    assert parity["images"] == 4 and parity["detections"] > 20
    assert parity["panoptic"] == 1.0 and all(parity[name] < 1e-4 for name in TOLERANCE)

    (tmp_path / "images").mkdir()
    picture = torch.randint(0, 256, (70, 90, 3), dtype=torch.uint8).numpy()
    (tmp_path / "images" / "a.png").write_bytes(png(picture))
    with pytest.raises(InputError, match=r"model\.pt2 is a program, which can run any code .*--trust-exported"):
        predict(result.uri, str(tmp_path / "images"), str(tmp_path / "out"))
    predicted = predict(result.uri, str(tmp_path / "images"), str(tmp_path / "out"), trust_exported=True)
    wanted = Predictor.from_folder(trained)([picture])[0].panoptic
    assert (tmp_path / "out" / "panoptic" / "a.png").read_bytes() == encode_panoptic(wanted.ids.numpy())
    (annotation,) = json.loads(Path(predicted.panoptic_json).read_text())["annotations"]
    assert annotation["segments_info"] == [segment.to_json() for segment in wanted.segments]
    assert any(segment.is_thing for segment in wanted.segments)
    with pytest.raises(InputError, match=r"model\.pt2 is an export already; give the model folder"):
        export(result.uri, str(tmp_path / "again"))


def test_no_folder_is_written_to_that_holds_something(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine.txt").touch()
    for folder in (trained, tmp_path / "results"):
        before = sorted(folder.iterdir())
        with pytest.raises(InputError, match=r"not empty; give a new folder, or delete this one"):
            export(str(trained), str(folder))
        assert sorted(folder.iterdir()) == before
    with pytest.raises(InputError, match=r"no model\.safetensors or model\.pt2 there"):
        export(str(tmp_path), str(tmp_path / "out"))


def test_a_full_disk_leaves_nothing(trained: Path, tmp_path: Path) -> None:
    """And once there is space, the same command succeeds."""
    with small_disk(tmp_path / "disk", megabytes=0.1) as disk:
        with pytest.raises(OSError, match="No space left"):
            export(str(trained), str(disk.path / "exported"))
        assert list(disk.path.iterdir()) == []
        disk.grow(100)
        export(str(trained), str(disk.path / "exported"))
        assert len(list((disk.path / "exported").iterdir())) == 3


def test_what_is_no_number_is_far_apart(trained: Path) -> None:
    picture = torch.randint(0, 256, (70, 90, 3), dtype=torch.uint8).numpy()
    output = Predictor.from_folder(trained).run([picture])[0]
    assert differences(output, output) == dict.fromkeys(TOLERANCE, 0.0)
    nothing = {name: m * float("nan") for name, m in output.semantic.attention.items()}
    broken = output._replace(semantic=SemanticOutput(output.semantic.logits, nothing))
    assert differences(output, broken) == {**dict.fromkeys(TOLERANCE, 0.0), "attention": float("inf")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": 0.02}, r"differs from m in boxes by 0\.02 \(at most 0\.01\); nothing was written"),
        ({"logits": float("inf"), "panoptic": 0.9}, r"logits by inf .*, 10\.00% of the pixels \(at most 0\.10%\)"),
    ],
)
def test_a_program_that_differs_is_refused(change: dict[str, float], message: str) -> None:
    _check(EXACT, "m")
    with pytest.raises(Refused, match=message):
        _check({**EXACT, **change}, "m")
