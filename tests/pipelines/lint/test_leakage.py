"""Pictures that are the same file or the same picture are found, others are not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from aunet.data.shapes import make_scene
from pipelines.lint import leakage as lint_leakage
from pipelines.lint.leakage import NEAR, Print, difference_hash, find_leaks, find_repeated


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


def prints(*looks: int | None, start: int = 0) -> list[Print]:
    return [
        Print(image=start + n, uri=f"{start + n}.jpg", sha256=bytes([start + n]), looks=value)
        for n, value in enumerate(looks)
    ]


@pytest.mark.parametrize("block", [1, 7, 10**6])
def test_the_nearest_is_named_whatever_the_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(lint_leakage, "_BLOCK", block)
    own, others = prints(0, 2**64 - 1, None, 0b111111), prints(0b11, 0b1, None, 2**63, start=10)
    first, second = find_leaks(own, others)
    assert (first.rule, first.image, first.twin) == ("leak-near", 0, "11.jpg")
    assert "1 of 64 bits differ, and 2 more" in first.message
    assert (second.image, second.twin) == (3, "10.jpg")
    assert find_leaks(own, []) == []


def test_the_same_bytes() -> None:
    own = prints(5, None)
    assert [(d.rule, d.image) for d in find_leaks(own, prints(5, None))] == [("leak-exact", 0), ("leak-exact", 1)]
    again = Print(image=8, uri="8.jpg", sha256=own[0].sha256, looks=5)
    assert [(d.rule, d.image, d.twin) for d in find_repeated([*own, again])] == [("image-twice", 8, "0.jpg")]
    nothing = Print(image=9, uri="9.jpg", sha256=b"", looks=None)
    assert find_repeated([nothing, nothing]) == [] and find_leaks([nothing], [nothing]) == []
