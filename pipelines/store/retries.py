"""How often, and for how long, a request to an S3 API server is repeated.

A request that fails because of the network or the server is repeated with growing, random waits until `PATIENCE`
seconds have passed; then the operation ends with one message.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from aunet.errors import Unavailable
from pipelines.store.addresses import masked, shown

T = TypeVar("T")

CONNECT_TIMEOUT = 5
"""Seconds until a connection must stand."""
REQUEST_TIMEOUT = 20
"""Seconds that a server may be silent in the middle of a request."""
PATIENCE = 60.0
"""Seconds after which an operation is not tried again."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Upper bounds in seconds: before the second attempt, doubled from one to the next up to the longest; each wait is a
random fraction of its bound."""
MAX_ATTEMPTS = 10
"""Attempts per request of a library by itself: pyarrow, with 13 s of waits in all, and MLflow."""

PASSING = (408, 409, 429)
"""HTTP status of temporary refusals: a slow request, a conflict of two, too many of them."""
PASSING_CODES = ("RequestTimeout", "RequestTimeoutException", "IncompleteBody")
"""S3's codes for a body that did not come in time, or not whole; their status is 400, as of what is wrong."""
REFUSED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "NO_SUCH_BUCKET")


class Passing(OSError):
    """A failure that the next attempt may not meet."""


def patiently(uri: str, endpoint: str, operation: Callable[[], T]) -> T:
    """The result of an operation that can be repeated, however often it has to be.

    Args:
        uri: of what is read or written, for the message.
        endpoint: address of the server; empty: Amazon's.

    Raises:
        Unavailable: the server did not do it within `PATIENCE` seconds, or refuses.
        FileNotFoundError, IsADirectoryError, NotADirectoryError: as `operation` raises them.
    """
    begun, attempts = time.monotonic(), 0
    while True:
        attempts += 1
        try:
            return operation()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise
        except OSError as error:
            server, why = shown(endpoint) or "Amazon's S3", masked(" ".join(str(error).split()))[-300:]
            if not passes(error):
                raise Unavailable(
                    f"{uri}: {server} refuses: {why}; check that the keys are right and allow it: `doctor` tries them"
                ) from None
            seconds = time.monotonic() - begun
            wait = random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempts - 1)))
            if seconds + wait > PATIENCE:
                raise Unavailable(
                    f"{uri}: {server} did not do it, asked {attempts} times in {seconds:.0f} s; last answer: {why}; "
                    "start the server or correct AWS_ENDPOINT_URL (`doctor` tries it), then run the same again"
                ) from None
        time.sleep(wait)


def passes(error: OSError) -> bool:
    """Whether the next attempt may succeed; of pyarrow's errors only the text tells."""
    if isinstance(error, Passing | PermissionError):
        return isinstance(error, Passing)
    status = re.search(r"HTTP status (\d+)", str(error))
    if status and 400 <= int(status[1]) < 500:
        return int(status[1]) in PASSING
    return not any(code in str(error) for code in REFUSED)
