"""`python -m jobs VERB [PRESET] [--dotted.option value …]`: one JSON line on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from jobs.failures import explain
from jobs.parsing import PROGRAM, HelpShown, parse


def start(program: str = PROGRAM) -> int:
    """Run the command line of this process. `program` is how it was called, for help.

    Libraries and workers print to stdout as they please: from here on that is stderr, and the result has a stdout of
    its own.
    """
    sys.stdout.flush()
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    code = main(sys.argv[1:], stdout, program)
    with contextlib.suppress(OSError):  # what cannot be written has failed in `main` already
        stdout.close()
    return code


def main(words: Sequence[str], out: TextIO, program: str = PROGRAM, function: Callable[..., Any] | None = None) -> int:
    """Run one command; its text and its result, as one line of JSON, go to `out`.

    Args:
        words: what follows the program's name.
        out: stdout.
        program: how the program was called, for help.
        function: called in place of the verb's own.

    Returns:
        The exit code.
    """
    try:
        return _run(words, out, program, function)
    except KeyboardInterrupt as interruption:
        lines, code = [f"interrupted{f': {interruption}' if interruption.args else ''}"], 130
    except Exception as error:  # noqa: BLE001 - everything ends in an exit code
        lines, code = explain(error)
    with contextlib.suppress(OSError):  # stderr may be on a full disk
        print("\n".join(lines), file=sys.stderr)
    return code


def _run(words: Sequence[str], out: TextIO, program: str, function: Callable[..., Any] | None) -> int:
    try:
        verb, options = parse(words, out, program)
    except HelpShown:
        out.flush()
        return 0
    outcome = verb.call(options, function)
    print(f"{outcome.text}{json_line(outcome.result)}", file=out, flush=True)
    return outcome.exit_code


def json_line(result: Mapping[str, Any]) -> str:
    """A result as one line of JSON, non-finite numbers as null."""
    return json.dumps(_finite(result))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(start())
