"""How a command that fails ends: lines for people, and an exit code."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from aunet.errors import InputError, Refused, Unavailable
from aunet.names import printable
from pipelines.runtime.interruption import RESUME, Preempted
from pipelines.store.addresses import masked

CURES = {
    errno.ENOSPC: "free some space, then run the same again",
    errno.EDQUOT: "free some space or raise the quota, then run the same again",
    errno.EFBIG: "raise the limit on the size of files, or write elsewhere",
    errno.EROFS: "name a folder that can be written to",
    errno.EACCES: "give this user access, or name another file or folder",
    errno.EPERM: "give this user access, or name another file or folder",
    errno.ENOTDIR: "a part of the path is a file; name a folder",
    errno.EISDIR: "it is a folder; name a file",
    errno.EEXIST: "it exists and is something else than expected; name another",
    errno.ENOTEMPTY: "it is not empty; name another",
    errno.ENOENT: "create it or correct the path",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EINVAL: "use a name that this file system accepts",
    errno.EILSEQ: "use a name that this file system accepts",
    errno.ELOOP: "its links lead in a circle; remove one",
    errno.EXDEV: "name a folder on the same file system",
    errno.EIO: "the disk fails; check it, or name another folder",
    errno.ESTALE: "the file server has forgotten it; mount it again",
    errno.EMFILE: "raise the limit: ulimit -n 65536",
    errno.ENFILE: "close other programs, or raise the machine's limit on open files",
    errno.EPIPE: "whoever read the output has gone",
}
"""What helps against the answers of an operating system that say something of files."""
PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE)
"""Of these, what says how this machine is just now, and nothing of what was asked for."""


def explain(error: Exception) -> tuple[list[str], int]:
    """What to print of an error, and the exit code.

    2 for what would end the same way each time: wrong input, and a path that the system refuses. 3 for a refusal. 1 for
    a server that does not answer and a disk that is full, and 75 for an interruption: the same command continues.
    Anything else is a fault of the program: its traceback, and 1.
    """
    chain = list(causes(error))
    for cause in reversed(chain):  # the innermost: a library may have wrapped it
        if isinstance(cause, Refused):
            return [_line("refused", str(cause))], 3
        if isinstance(cause, InputError):
            return [_line("error", problem) for problem in cause.problems], 2
        if isinstance(cause, Unavailable):
            return [_line("error", str(cause))], 1
        if isinstance(cause, Preempted):
            return [_line("interrupted", str(cause))], RESUME
    for cause in reversed(chain):
        if isinstance(cause, OSError) and (cure := CURES.get(cause.errno or 0)):
            return [_line("error", f"{_what(cause)}; {cure}")], 1 if cause.errno in PASSING else 2
    return [masked("".join(traceback.format_exception(error)).rstrip("\n"))], 1


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


def _what(error: OSError) -> str:
    """The file, where it is known, and what the system says."""
    names = [str(name) for name in (error.filename, error.filename2) if name not in (None, "")]
    reason = error.strerror or str(error)
    return f"{' → '.join(names) or 'a file or the output'}: {reason[:1].lower()}{reason[1:300]}"


def _line(kind: str, message: str) -> str:
    return printable(masked(f"{kind}: {' '.join(message.split())}"))
