import pytest
from hypothesis import given, strategies as st

from aunet.errors import InputError
from aunet.names import check_name, inner_path, printable


@pytest.mark.parametrize("name", ["a", "train-shapes-smoke-0123456789ab", "checkpoint_000001", "A.b_c-9", "x" * 128])
def test_names(name: str) -> None:
    assert check_name("--id", name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/etc", "a/b", "a b", "-rf", "a\n", "a\x00", "ä", "x" * 129, "a\\b", None, 3, True]
)
def test_what_is_not_a_name(name: object) -> None:
    with pytest.raises(InputError, match=r"^--id = ") as caught:
        check_name("--id", name)
    assert caught.value.problems[0].isprintable()


@pytest.mark.parametrize("path", ["a.png", "a/b/c.png", "Zürich/ü.png", "a b.png", "..a/b..", "x" * 255, "C:\\x.png"])
def test_paths_that_stay(path: str) -> None:
    assert inner_path(path) == path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../x", "leaves"),
        ("a/../../x", "leaves"),
        ("a/..", "leaves"),
        ("/etc/passwd", "leaves"),
        ("", "empty"),
        ("a\x00b", "control"),
        ("a\nb", "control"),
        ("\x1b[31mred", "control"),
        ("\ud800", "surrogate"),
        ("ü" * 128, "255 bytes"),
        (f"a/{'x' * 256}", "255 bytes"),
    ],
)
def test_paths_that_leave_or_cannot_be(path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        inner_path(path)
    assert str(caught.value).isprintable()


@given(st.text())
def test_printable_text_cannot_command_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in shown)
    shown.encode()
    assert printable(shown) == shown
