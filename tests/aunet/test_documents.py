import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from aunet.documents import read_json, read_object
from aunet.errors import InputError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)


@given(VALUES)
def test_reads_what_json_writes(value: Any) -> None:
    assert read_json(json.dumps(value), "x.json") == value


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"\x80", "not JSON"),
        (b"NaN", "NaN is not a number"),
        (b"[1, Infinity]", "Infinity is not"),
        (b"[-Infinity]", "-Infinity is not"),
        (b"[1e999]", "not JSON"),
        (b'{"a": -1.5E+4000}', "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b"[" * 1_000_000, "too deep"),
        (b'{"a":' * 1_000_000, "too deep"),
        (b'["\\ud800"]', "not Unicode"),
        (b'{"\\udc00": 1}', "not Unicode"),
    ],
)
def test_refuses(document: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=f"^x.json: .*{reason}") as caught:
        read_json(document, "x.json")
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


def test_pairs_of_surrogates_are_a_character() -> None:
    assert read_json(b'"\\ud83d\\ude00"', "x.json") == "\N{GRINNING FACE}"


def test_a_million_digits_of_a_fraction_are_a_number() -> None:
    assert read_json(b"0." + b"3" * 1000, "x.json") == pytest.approx(1 / 3)


@pytest.mark.parametrize(("document", "kind"), [(b"[]", "a list"), (b"1", "a number"), (b"null", "null")])
def test_an_object_is_not(document: bytes, kind: str) -> None:
    with pytest.raises(InputError, match=f"x.json: holds {kind}, not an object"):
        read_object(document, "x.json")
