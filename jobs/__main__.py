"""`python -m jobs VERB [PRESET] [--dotted.option value …]`: one JSON line on stdout, everything else on stderr."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from aunet.errors import InputError, Refused, Unavailable
from jobs.parsing import HelpShown, parse


def main(words: Sequence[str], out: TextIO) -> int:
    """Run one command; the result goes to `out` as one line of JSON. Returns the exit code."""
    try:
        verb, options = parse(words, out)
        result = verb.call(options)
        print(result_line(result), file=out, flush=True)
        return exit_code(result)
    except HelpShown:
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 - everything ends in an exit code
        return _explain(error)


def result_line(result: Any) -> str:
    """An artifact or a dict as one line of JSON, its metrics at top level too, what is not a number as null.

    A text under the key `text`, such as a manifest, is printed before it as it is.
    """
    plain = dataclasses.asdict(result) if dataclasses.is_dataclass(result) else dict(result)  # type: ignore[arg-type]
    text = plain.pop("text", "")
    if isinstance(metrics := plain.get("metrics"), Mapping):
        plain = {**plain, **metrics}
    return text + json.dumps(_finite(plain))


def exit_code(result: Any) -> int:
    """0; 3 for a plan that refuses; 2 where problems were found; a job's own code where it was waited for."""
    if not isinstance(result, Mapping):
        return 0
    if result.get("refused"):
        return 3
    return 2 if result.get("problems") else int(result.get("exit_code") or 0)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _explain(error: Exception) -> int:
    """Say what went wrong on stderr; returns the exit code."""
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
    """`error` and everything that it says caused it, outermost first, whichever library wrapped it."""
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
    # Libraries and workers print to stdout as they please: from here on that is stderr, and the result has a
    # stdout of its own.
    sys.stdout.flush()
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.exit(main(sys.argv[1:], stdout))
