"""How errors end: what the system refuses is one line with a cure, whoever wrapped it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aunet.errors import InputError, Refused, Unavailable
from jobs.failures import CURES, PASSING, causes, explain

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("code", CURES, ids=errno.errorcode.__getitem__)
def test_what_the_system_refuses_is_one_line(code: int) -> None:
    lines, exit_code = explain(OSError(code, os.strerror(code), "a/b"))
    assert exit_code == (1 if code in PASSING else 2)
    assert len(lines) == 1 and lines[0].startswith("error: a/b: ") and lines[0].endswith(CURES[code])


def test_an_error_of_two_files_names_both() -> None:
    lines, _ = explain(OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"))
    assert lines[0].startswith("error: a → b: invalid cross-device link; ")


def test_an_error_of_no_file_says_so() -> None:
    lines, _ = explain(OSError(errno.ENOSPC, "No space left on device"))
    assert lines == ["error: a file or the output: no space left on device; free some space, then run the same again"]


def test_what_a_worker_met_counts() -> None:
    outer = RuntimeError("training failed")
    outer.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/store/x")
    assert explain(outer)[1] == 1


def test_an_explanation_comes_before_what_the_system_says() -> None:
    outer = InputError("a.png: cannot be read; fetch it again")
    outer.__cause__ = OSError(errno.EIO, "Input/output error", "a.png")
    assert explain(outer) == (["error: a.png: cannot be read; fetch it again"], 2)


@pytest.mark.parametrize("error", [OSError("no number"), OSError(errno.ECHILD, "x"), KeyError("x"), ValueError("x")])
def test_a_fault_of_the_program_is_a_traceback(error: Exception) -> None:
    lines, exit_code = explain(error)
    assert exit_code == 1 and type(error).__name__ in lines[0]


def test_a_server_that_is_away_is_one_line_and_no_wrong_input() -> None:
    assert explain(Unavailable("http://x: no answer; start it")) == (["error: http://x: no answer; start it"], 1)


@pytest.mark.parametrize("kind", [InputError, Refused, Unavailable])
def test_no_message_commands_a_terminal(kind: type[Exception]) -> None:
    lines, _ = explain(kind("a\x1b[31m\x07\u202e\ud800b"))
    assert all(line.isprintable() for line in lines)
    "".join(lines).encode()


def test_causes_end_even_in_a_circle() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert list(causes(first)) == [first, second]


@pytest.mark.parametrize("words", [("score", "--help"), ("plan", "shapes_smoke")])
def test_an_output_that_cannot_be_written_is_no_success(words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "jobs", *words]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: a file or the output: no space left on device; ")


def test_words_that_are_not_utf_8_are_named() -> None:
    words = [b"predict", b"--model", b"a\xff", b"--images", b"x", b"--out", b"y"]
    command = [sys.executable.encode(), b"-m", b"jobs", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: 'a\\udcff': not a text in UTF-8; rename the file, or write the word again\n"
