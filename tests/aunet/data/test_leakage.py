"""Pictures that are the same file or look the same are found, others are not."""

from __future__ import annotations

import pytest

from aunet.data.leakage import Print, find_leaks, find_repeated


def prints(*hashes: int | None, start: int = 0) -> list[Print]:
    return [
        Print(image=start + n, uri=f"{start + n}.jpg", sha256=bytes([start + n]), difference_hash=value)
        for n, value in enumerate(hashes)
    ]


@pytest.mark.parametrize("block", [1, 7, 10**6])
def test_the_nearest_is_named_whatever_the_block(block: int) -> None:
    own, others = prints(0, 2**64 - 1, None, 0b111111), prints(0b11, 0b1, None, 2**63, start=10)
    first, second = find_leaks(own, others, pairs_per_block=block)
    assert (first.rule, first.image, first.twin) == ("leak-near", 0, "11.jpg")
    assert "1 of 64 bits differ, and 2 more" in first.message
    assert (second.image, second.twin) == (3, "10.jpg")
    assert find_leaks(own, []) == []


def test_the_same_bytes() -> None:
    own = prints(5, None)
    assert [(d.rule, d.image) for d in find_leaks(own, prints(5, None))] == [("leak-exact", 0), ("leak-exact", 1)]
    again = Print(image=8, uri="8.jpg", sha256=own[0].sha256, difference_hash=5)
    assert [(d.rule, d.image, d.twin) for d in find_repeated([*own, again])] == [("image-twice", 8, "0.jpg")]
    nothing = Print(image=9, uri="9.jpg", sha256=b"", difference_hash=None)
    assert find_repeated([nothing, nothing]) == [] and find_leaks([nothing], [nothing]) == []
