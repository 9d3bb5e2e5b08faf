"""Pictures in, panoptic maps out, however the pictures come."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aunet import Predictor, build_model
from aunet.config import AugmentConfig, FusionConfig
from aunet.errors import InputError
from tests.commands import ROOT
from tests.tiny import CATEGORIES, TINY, with_attention


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    model = build_model(TINY, CATEGORIES)
    return Predictor(
        model, TINY, CATEGORIES, AugmentConfig(short_sides=(64,), max_size=128), FusionConfig(stuff_area=0)
    )


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def test_arrays_bytes_and_files_give_the_same(predictor: Predictor, picture: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(png(picture))
    with open(path, "rb") as file:
        results = predictor([picture, png(picture), path, str(path), io.BytesIO(png(picture)), file])
    assert all(torch.equal(results[0].panoptic.ids, other.panoptic.ids) for other in results[1:])


def test_grey_and_transparent_arrays_are_read_as_such_files(predictor: Predictor, picture: np.ndarray) -> None:
    grey, rgba = picture[..., 0], np.concatenate([picture, picture[..., :1]], axis=-1)
    for array in (grey, rgba):
        loaded, decoded = (r.prediction.semantic_logits for r in predictor([array, png(array)]))
        assert torch.equal(loaded, decoded)


def test_no_images_no_results(predictor: Predictor) -> None:
    assert predictor([]) == []


def test_what_is_no_picture_is_named_with_its_cure(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "damaged.jpg").write_bytes(b"<html>not found</html>")
    wrong = [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((3, 8, 9), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        torch.zeros(3, 8, 8),
        io.StringIO("text"),
        tmp_path / "nowhere.jpg",
        tmp_path / "damaged.jpg",
        b"GIF",
    ]
    with pytest.raises(InputError) as caught:
        predictor(wrong)
    patterns = [
        r"image 0: float32\[8, 8, 3\]; give uint8\[H, W, 3\] RGB with values 0 … 255",
        r"image 1: uint8\[3, 8, 9\]; give uint8\[H, W, 3\]",
        r"image 2: uint8\[0, 8, 3\]",
        "image 3: a Tensor; give an array",
        'image 4: a file opened as text; open it with "rb"',
        r"image .*nowhere\.jpg: no such file; give the path",
        r"image .*damaged\.jpg: not a picture",
        "image 7: not a picture",
    ]
    assert len(caught.value.problems) == len(patterns)
    for problem, pattern in zip(caught.value.problems, patterns, strict=True):
        assert re.match(pattern, problem), problem


@pytest.mark.parametrize("single", ["street.jpg", b"JPEG", Path("street.jpg"), np.zeros((8, 8, 3), np.uint8)])
def test_a_single_image_is_no_list(predictor: Predictor, single: Any) -> None:
    with pytest.raises(InputError, match=r"images: a single \w+; give a list of images"):
        predictor(single)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (2000, 2)])
def test_odd_sizes(predictor: Predictor, size: tuple[int, int]) -> None:
    result = predictor([np.full((*size, 3), 90, np.uint8)])[0]
    assert result.panoptic.ids.shape == size
    assert {m.shape for m in result.attention.values()} == {size}


def test_attention_has_the_size_of_the_image(predictor: Predictor, picture: np.ndarray) -> None:
    for result, size in zip(predictor([picture, picture[:40, :50]]), ((70, 90), (40, 50)), strict=True):
        assert list(result.attention) == ["pam2", "pam3", "pam4", "pam5", "mam"]
        for weights in result.attention.values():
            assert weights.shape == size and weights.dtype == torch.float32
            assert 0 < weights.min() and weights.max() < 1
        assert result.attention is result.attention, "made once"


def test_attention_waits_until_it_is_asked_for(
    predictor: Predictor, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aunet.predictor.merge_attention", lambda views, size: size)
    result = predictor([picture])[0]
    assert "attention" not in vars(result) and result.attention == (70, 90)
    kept = [m for view in result.views for m in view.maps.values()]
    assert all(m.untyped_storage().nbytes() == 4 * m.numel() for m in kept), "no batch is kept alive"


def test_a_network_without_attention(picture: np.ndarray) -> None:
    config = with_attention(TINY, pam=False, mam=False)
    model = build_model(config, CATEGORIES)
    without = Predictor(model, config, CATEGORIES, AugmentConfig(short_sides=(64,), max_size=128), FusionConfig())
    assert without([picture])[0].attention == {}


def test_the_map_fits_its_segments_and_the_picture(predictor: Predictor, picture: np.ndarray) -> None:
    panoptic = predictor([picture])[0].panoptic
    assert panoptic.ids.shape == (70, 90)
    areas = {s.id: s.area for s in panoptic.segments}
    assert areas == {int(i): int((panoptic.ids == i).sum()) for i in panoptic.ids.unique() if i}


def test_a_batch_of_different_sizes(predictor: Predictor, picture: np.ndarray) -> None:
    results = predictor([picture, picture[:40, :50]])
    assert [tuple(r.panoptic.ids.shape) for r in results] == [(70, 90), (40, 50)]


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 1.5)])
def test_a_result_does_not_depend_on_the_other_images(
    predictor: Predictor, picture: np.ndarray, scales: tuple[float, ...]
) -> None:
    """Here they are wider or higher: padded to their size, norms would average over other padding."""
    augment = replace(predictor.augment, test_scales=scales, test_flip=len(scales) > 1)
    views = Predictor(predictor.model, TINY, CATEGORIES, augment, predictor.fusion)
    images = [picture[:40, :30], np.tile(picture, (1, 2, 1)), np.tile(picture, (2, 1, 1))]
    for together, image in zip(views(images), images, strict=True):
        alone = views([image])[0]
        assert torch.equal(together.prediction.semantic_logits, alone.prediction.semantic_logits)
        for name in ("boxes", "scores", "labels", "masks"):
            assert torch.equal(
                getattr(together.prediction.detections, name), getattr(alone.prediction.detections, name)
            )
        assert torch.equal(together.panoptic.ids, alone.panoptic.ids)
        assert together.attention.keys() == alone.attention.keys()
        assert all(torch.equal(m, alone.attention[name]) for name, m in together.attention.items())


def test_images_of_one_input_size_share_a_pass(
    predictor: Predictor, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These are padded to 64×96, 64×128 and 64×96."""
    passes: list[list[tuple[int, ...]]] = []
    run = Predictor.run
    monkeypatch.setattr(
        Predictor,
        "run",
        lambda own, arrays, *a, **b: (passes.append([x.shape for x in arrays]), run(own, arrays, *a, **b))[1],
    )
    images = [picture, picture[:50, :90], picture[:64, :80]]
    results = predictor(images)
    assert [len(shapes) for shapes in passes] == [2, 1]
    assert [result.panoptic.ids.shape for result in results] == [image.shape[:2] for image in images]


def test_multi_scale_testing(predictor: Predictor, picture: np.ndarray) -> None:
    views = Predictor(
        predictor.model,
        TINY,
        CATEGORIES,
        replace(predictor.augment, test_scales=(1.0, 1.5), test_flip=True),
        predictor.fusion,
    )
    result, mirrored = views([picture])[0], views([np.ascontiguousarray(picture[:, ::-1])])[0]
    assert result.prediction.semantic_logits.shape == (3, 70, 90)
    torch.testing.assert_close(
        result.prediction.semantic_logits.softmax(0),
        mirrored.prediction.semantic_logits.flip(-1).softmax(0),
        atol=2e-3,
        rtol=0,
    )
    assert len(result.views) == 4
    for name, weights in result.attention.items():
        torch.testing.assert_close(weights, mirrored.attention[name].flip(-1), atol=2e-3, rtol=0)


MEMORY = """
import io, json, resource
import numpy as np, torch
from PIL import Image
from aunet import Predictor, build_model
from aunet.config import AugmentConfig, FusionConfig
from tests.tiny import CATEGORIES, TINY
from dataclasses import replace

torch.manual_seed(0)
config = replace(TINY, foreground=replace(TINY.foreground, score_threshold=0.0))
fusion = FusionConfig(score_threshold=0.0)
augment = AugmentConfig(short_sides=(64,), max_size=128)
predictor = Predictor(build_model(config, CATEGORIES), config, CATEGORIES, augment, fusion)
buffer = io.BytesIO()
Image.new("1", (4000, 4000)).save(buffer, "PNG")
predictor([np.zeros((300, 400, 3), np.uint8)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = predictor([buffer.getvalue()])[0]
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"bytes": 1024 * (after - before), "instances": len(result.prediction.detections.scores)}))
"""


def test_memory_grows_with_pixels_not_with_pixels_times_instances() -> None:
    """A file of a few kilobytes can be a picture of millions of pixels."""
    answer = subprocess.run([sys.executable, "-c", MEMORY], cwd=ROOT, capture_output=True, text=True, check=True)
    measured = json.loads(answer.stdout.splitlines()[-1])
    assert measured["instances"] >= 30
    assert measured["bytes"] < 50 * 4000 * 4000


def test_a_picture_of_too_many_pixels_is_not_decoded(predictor: Predictor, picture: np.ndarray) -> None:
    with pytest.raises(
        InputError, match="image 0: 90×70 = 6300 pixels, over the limit of 6299; make the picture smaller"
    ):
        predictor([png(picture)], max_pixels=6299)
    assert len(predictor([png(picture)], max_pixels=6300)) == 1


def test_the_background_branch_can_do_without_attention(predictor: Predictor, picture: np.ndarray) -> None:
    assert predictor.can_ignore_attention
    guided, unguided = predictor([picture])[0], predictor([picture], guided=False)[0]
    assert torch.equal(guided.prediction.detections.boxes, unguided.prediction.detections.boxes)
    assert not torch.equal(guided.prediction.semantic_logits, unguided.prediction.semantic_logits)
    assert list(unguided.attention) == list(guided.attention)
    assert all(bool((m == 1).all()) for m in unguided.attention.values())


def test_a_network_without_attention_says_the_same_without_it(picture: np.ndarray) -> None:
    config = with_attention(TINY, pam=False, mam=False)
    predictor = Predictor(
        build_model(config, CATEGORIES), config, CATEGORIES, AugmentConfig(short_sides=(64,)), FusionConfig()
    )
    assert not predictor.can_ignore_attention
    guided, unguided = (predictor([picture], guided=g)[0].prediction.semantic_logits for g in (True, False))
    assert torch.equal(guided, unguided)
