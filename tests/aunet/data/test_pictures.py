"""Pictures that look alike have near hashes, others have not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from aunet.data.pictures import difference_hash
from aunet.data.shapes import make_scene
from pipelines.lint.leakage import NEAR


def scene(index: int) -> Image.Image:
    return Image.fromarray(make_scene(0, "train", index, 96, 128).image)


def saved(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def test_hash_by_hand() -> None:
    """Columns that grow brighter to the right are ones, those that grow darker zeros."""
    ramp = np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1))
    assert difference_hash(Image.fromarray(ramp)) == 2**64 - 1
    assert difference_hash(Image.fromarray(ramp[:, ::-1])) == 0
    assert difference_hash(Image.new("RGB", (50, 50), (7, 7, 7))) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda p: saved(p, 30),
        lambda p: p.resize((64, 48)),
        lambda p: p.resize((200, 150)),
        lambda p: ImageEnhance.Brightness(p).enhance(0.8),
        lambda p: p.convert("L"),
    ],
    ids=["saved again", "halved", "enlarged", "darker", "grey"],
)
def test_the_same_picture_is_near_and_others_are_far(change: Callable[[Image.Image], Image.Image]) -> None:
    pictures = [scene(n) for n in range(6)]
    own, other = ([difference_hash(p) for p in row] for row in (pictures, map(change, pictures)))
    near = [[(a ^ b).bit_count() <= NEAR for b in other if b is not None] for a in own if a is not None]
    assert np.array_equal(near, np.eye(6, dtype=bool))
