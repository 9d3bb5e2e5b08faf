"""JSON of any size, element by element: the same values as the whole file, the same refusals, little memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aunet.errors import InputError
from pipelines.data.json_stream import CHUNK_BYTES, stream_json, stream_lists

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


def read(path: Path, *lists: str, values: tuple[str, ...] = ()) -> list[tuple[str, Any]]:
    return list(stream_json(str(path), lists, values))


@settings(max_examples=80, deadline=None)
@given(images=st.lists(VALUES, max_size=5), rest=VALUES, indent=st.sampled_from([None, 1]))
def test_elements_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, images: list[Any], rest: Any, indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps({"info": rest, "images": images, "x": [1, [rest]], "y": images}, indent=indent))
    assert read(path, "images") == [("images", value) for value in images]
    assert read(path, values=("info", "gone")) == [("info", rest)]


def test_chunks_may_end_anywhere(tmp_path: Path) -> None:
    path, text = tmp_path / "a.json", '{"a": [12, -3.5e2, "é\\u00e9\\"", [1, {"x": null}], true], "b": 1}'.encode()
    for end in range(1, len(text)):
        path.write_bytes(b" " * (CHUNK_BYTES - end) + text)
        assert [value for _, value in read(path, "a")] == [12, -350.0, 'éé"', [1, {"x": None}], True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'{' is missing"),
        ("[1]", "'{' is missing"),
        ('{"a": [1, 2}', "',' is missing"),
        ('{"a": [1, 2', "',' is missing"),
        ('{"a": [1] "b": 2}', "'}' is missing"),
        ('{"a": [1]} {', "more text after the end"),
        ('{"a": [NaN]}', "NaN is not a number of JSON"),
        ('{"a": [1e999]}', "a number that is too large"),
        ('{"a": ["\\ud800"]}', "not Unicode"),
        ('{"a": 7}', "'a' is a number, not a list"),
        ('{"b": []}', "no list 'a'"),
        ('{"a": [], "a": []}', "'a' is given twice"),
        ("{7: 1}", "a key that is not a text"),
        (f'{{"a": [{"[" * 100_000}]}}', "nested too deep"),
        (f'{{"a": [{"1" * 5000}]}}', "Exceeds the limit"),
    ],
)
def test_what_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read(path, "a")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"a": ["\xff"]}')
    with pytest.raises(InputError, match="not Unicode"):
        read(tmp_path / "a.json", "a")
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "gone.json", "a")


def test_memory_is_that_of_an_element(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with open(path, "w") as file:
        file.write('{"a": [')
        file.write(",".join(json.dumps({"n": n, "x": [0.5] * 100}) for n in range(60_000)))
        file.write("]}")
    assert path.stat().st_size > 25_000_000
    next(stream_json(str(path), ("a",)))  # loads pyarrow
    tracemalloc.start()
    count = sum(1 for _ in stream_json(str(path), ("a",)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60_000 and peak < 12_000_000


def test_lists_come_as_wholes_and_the_rest_of_one_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for end in ("", " ", "\n" * 3):
        path.write_text('{"a": [1, 2, 3], "n": [4], "b": [], "c": [{"x": 1}]}' + end)
        first = {key: next(elements, None) for key, elements in stream_lists(str(path), ("a", "b", "c", "d"), "name")}
        assert first == {"a": 1, "b": None, "c": {"x": 1}}
    path.write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"^name: 'a' is a number, not a list"):
        list(stream_lists(str(path), ("a",), "name"))
    with pytest.raises(InputError, match="no such file"):
        stream_lists(str(tmp_path / "gone.json"), ("a",), "name")
