from dataclasses import dataclass
from typing import Annotated

import pytest

from aunet.errors import InputError
from aunet.ranges import AtLeastOne, Range, Share, check_ranges

Positive = Annotated[float, Range(above=0)]
NAN, INF = float("nan"), float("inf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    plain: float = 0.0
    lr: Positive = 0.1
    share: Share = 0.5
    decay: Annotated[float, Range(above=0, below=1)] | None = None
    sizes: tuple[AtLeastOne, ...] = (1, 2)
    pairs: tuple[tuple[Positive, Share], ...] = ()
    optional: tuple[Positive, ...] | None = None
    name: str = "x"
    flag: bool = True

    def __post_init__(self) -> None:
        check_ranges(self, "numbers")


def test_accepts() -> None:
    Numbers()
    Numbers(plain=-1e30, lr=1e-9, share=1.0, decay=0.5, sizes=(), pairs=((1.0, 0.0),), optional=(2.0,), flag=False)


@pytest.mark.parametrize("field", ["plain", "lr", "share", "decay"])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_no_setting_is_nan_or_infinite(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"numbers.{field} = {value}: use a number"):
        Numbers(**{field: value})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.0}, "numbers.lr = 0.0: use a number above 0, not 0.0"),
        ({"share": 1.5}, "numbers.share = 1.5: use a number at least 0 and at most 1, not 1.5"),
        ({"decay": 1.0}, "numbers.decay = 1.0: use a number above 0 and below 1, not 1.0"),
        ({"sizes": (1, 0)}, "numbers.sizes = (1, 0): use numbers at least 1, not 0"),
        ({"pairs": ((1.0, 2.0),)}, "numbers.pairs = ((1.0, 2.0),): use numbers at least 0 and at most 1, not 2.0"),
        ({"optional": (NAN,)}, "numbers.optional = (nan,): use numbers above 0, not nan"),
    ],
)
def test_refuses_what_is_outside(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Numbers(**changes)  # pyright: ignore[reportArgumentType]
    assert caught.value.problems == (message,)


def test_names_every_wrong_number() -> None:
    with pytest.raises(InputError) as caught:
        Numbers(lr=-1.0, share=2.0)
    assert len(caught.value.problems) == 2
