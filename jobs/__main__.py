"""`python -m jobs VERB [PRESET] [--dotted.option value …]`: one JSON line on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from aunet.errors import InputError, Refused, Unavailable
from jobs.parsing import PROGRAM, HelpShown, parse


def start(program: str = PROGRAM) -> int:
    """Run the command line of this process. `program` is how it was called, for help.

    Libraries and workers print to stdout as they please: from here on that is stderr, and the result has a stdout of
    its own.
    """
    sys.stdout.flush()
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return main(sys.argv[1:], stdout, program)


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
        verb, options = parse(words, out, program)
        outcome = verb.call(options, function)
        print(f"{outcome.text}{json_line(outcome.result)}", file=out, flush=True)
        return outcome.exit_code
    except HelpShown:
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 - everything ends in an exit code
        return _explain(error)


def json_line(result: Mapping[str, Any]) -> str:
    """A result as one line of JSON, non-finite numbers as null."""
    return json.dumps(_finite(result))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _explain(error: Exception) -> int:
    """Report on stderr what went wrong; returns the exit code."""
    known = [cause for cause in causes(error) if isinstance(cause, (InputError, Refused, Unavailable))]
    if not known:
        traceback.print_exception(error)
        return 1
    reason = known[-1]  # the innermost: a library may have wrapped it
    problems = reason.problems if isinstance(reason, InputError) else (str(reason),)
    for problem in problems:
        print(f"{'refused' if isinstance(reason, Refused) else 'error'}: {' '.join(problem.split())}", file=sys.stderr)
    return 3 if isinstance(reason, Refused) else 2


def causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and all of its causes, outermost first, whichever library wrapped them."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or any(current is other for other in seen):
            continue
        seen.append(current)
        yield current
        failures = getattr(current, "worker_failures", None)
        waiting += [current.__cause__, getattr(current, "cause", None)]
        waiting += failures.values() if isinstance(failures, Mapping) else []


if __name__ == "__main__":
    sys.exit(start())
