"""Which labels are things."""

from __future__ import annotations

import pytest

from aunet.errors import InputError
from pipelines.data.importing.category_choice import CategoryChoice

LABELS = ("wall", "car, auto", "bed")


@pytest.mark.parametrize(
    ("words", "things"),
    [
        (("car, auto",), ["car, auto"]),
        (("wall,bed",), ["wall", "bed"]),
        (("car, auto", "wall,bed"), ["wall", "car, auto", "bed"]),
        (("all",), list(LABELS)),
        (("none",), []),
        ((), []),
    ],
)
def test_a_word_is_a_label_or_several(words: tuple[str, ...], things: list[str]) -> None:
    categories = CategoryChoice(things=words).of_labels(LABELS, "source")
    assert [category.name for category in categories.things] == things


def test_a_word_that_is_no_label() -> None:
    with pytest.raises(InputError, match="--things car: not a label of source; it has wall, car, auto, bed"):
        CategoryChoice(things=("car",)).of_labels(LABELS, "source")
