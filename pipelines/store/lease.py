"""A lease: of those who want to do one thing only one does it, in a folder or on S3, however the holder ends.

`<uri>/000001.json`, `000002.json`, …: the newest number counts. A process that finds it released or expired, or held by
a process of this machine that has ended, creates the next one exclusively, and reads back that the file is its own and
the newest. The holder renews its file from a thread, three times per lease; `Lease.check` raises when it was suspended
past its expiry, or overtaken.

A file that cannot be read as a holding is an error, not a free lease. Other names than these are not looked at.

Assumptions: a listing shows all that was written before, and the hosts' clocks differ by less than half a lease.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from aunet.errors import InputError, Refused, Unavailable
from pipelines.store import storage
from pipelines.store.holding import CURE, Clock, Holding, Lost, iso, renewed

SETTLE_SECONDS = 2.0
"""Wait before reading back from a remote store: some (Swift) let two create one file at one moment; the later stays."""

POLL_SECONDS = 5.0
"""Between two looks at the lease of somebody who may have died."""

NUMBER = re.compile(r"[0-9]{6}|[1-9][0-9]{6,}")
"""As it is written: other names are not the lease's."""
MAX_NUMBER = 10**12
MAX_LISTINGS = 10
"""How often the newest file may be cleaned up between its listing and its reading."""


class Held(Refused):
    """Somebody else holds the lease."""

    def __init__(self, uri: str, record: Holding) -> None:
        self.record = record
        super().__init__(f"{uri}: held by {record}")


@dataclass(frozen=True, slots=True)
class Fence:
    """What another process needs to know that the lease is still with those it works for."""

    uri: str
    number: int
    token: str

    def check(self) -> None:
        """Call this before anything is committed.

        Raises:
            Lost: somebody else has taken the lease.
        """
        number, newest = _newest(self.uri)
        if newest is None or (number, newest.token) != (self.number, self.token):
            raise Lost(f"{self.uri}: lease lost: {f'taken by {newest}' if newest else 'its files are gone'}")


class Lease:
    """A lease that was won. `hold` creates, renews and releases it."""

    def __init__(self, uri: str, number: int, record: Holding, seconds: float, now: Clock, late: bool = False) -> None:
        self.uri, self.number, self.record, self.seconds = uri, number, record, seconds
        self.late = late
        self.lost = ""
        """Why the lease is no longer ours; empty while it is."""
        self._now = now

    def check(self) -> None:
        """Make sure that the lease is still ours; call this before anything that must not be done twice.

        Raises:
            Lost: it expired, or somebody else has taken it.
        """
        if not self.lost:
            number, newest = _newest(self.uri)
            if newest is None or (number, newest.token) != (self.number, self.record.token):
                self.lost = f"taken by {newest}" if newest else "its files are gone"
            elif self._now() >= self.record.expires and not self.late:
                self.lost = f"expired at {iso(self.record.expires)} before it could be renewed"
        if self.lost:
            raise Lost(f"{self.uri}: lease of {self.record.holder} lost: {self.lost}")

    @property
    def fence(self) -> Fence:
        """For other processes."""
        return Fence(self.uri, self.number, self.record.token)

    def renew(self) -> None:
        """Hold it for another period from now.

        Raises:
            Lost: it expired, or somebody else has taken it.
        """
        self.check()
        self._write(self._now() + self.seconds)

    def release(self) -> None:
        """Release it, if it is still ours; where the store does not answer, it expires by itself."""
        with contextlib.suppress(Lost, OSError, Unavailable):
            self.check()
            self._write(0.0)

    def _write(self, expires: float) -> None:
        """Another expiry, which counts once it is in the store."""
        record = replace(self.record, expires=expires)
        storage.write_bytes(_numbered(self.uri, self.number), record.to_bytes())
        self.record = record


@contextlib.contextmanager
def hold(
    uri: str,
    seconds: float,
    *,
    on_lost: Callable[[], object] | None = None,
    late: bool = False,
    patient: bool = False,
    now: Clock = time.time,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Lease]:
    """Hold the lease at `uri` while the block runs; a thread renews it.

    Args:
        uri: folder or URI of the lease's files.
        seconds: the lease of a holder that died expires after that many.
        on_lost: called in that thread when the lease is lost, to stop what the block does.
        late: whether it may be renewed after its expiry, as after an outage of the store, if nobody has taken it; only
            where everything that is committed passes `check` or the fence.
        patient: wait for a holder on another machine until it renews the lease, which shows that it lives, or the lease
            expires: a job that is started again after its machine was lost would else find its own dead attempt.

    Raises:
        Held: somebody else holds it.
        InputError: a file of the lease is damaged.
        Lost: instead of whatever ended the block, when the lease was lost in the meantime.
    """
    try:
        lease = acquire(uri, seconds, late=late, now=now, sleep=sleep)
    except Held as held:
        if not (patient and _expires(uri, held.record, now, sleep)):
            raise
        lease = acquire(uri, seconds, late=late, now=now, sleep=sleep)
    try:
        with renewed(lease, on_lost):
            yield lease
    except BaseException:
        if lease.lost:
            lease.check()
        raise
    finally:
        lease.release()


def acquire(
    uri: str,
    seconds: float,
    *,
    late: bool = False,
    now: Clock = time.time,
    sleep: Callable[[float], object] = time.sleep,
) -> Lease:
    """Win the lease at `uri`, without a thread that renews it.

    Raises:
        Held: somebody else holds it, or was faster.
        InputError: a file of the lease is damaged.
    """
    uri = storage.absolute(uri)
    number, newest = _newest(uri)
    if newest is not None and newest.counts(now()):
        raise Held(uri, newest)
    number, mine = number + 1, Holding.begin(seconds, now())
    created = storage.create_exclusive(_numbered(uri, number), mine.to_bytes())
    if created and storage.is_remote(uri):
        sleep(SETTLE_SECONDS)
    # A slow contender may have created a number that was held, released and cleaned up long ago.
    last, newest = _newest(uri)
    if newest is None:
        raise InputError(f"{_numbered(uri, number)}: cannot be written or read as a file; {CURE}")
    if (last, newest.token) != (number, mine.token):
        raise Held(uri, newest)
    for old in _numbers(uri):
        if old < number:
            storage.delete(_numbered(uri, old))
    return Lease(uri, number, mine, seconds, now, late)


def _expires(uri: str, held: Holding, now: Clock, sleep: Callable[[float], object]) -> bool:
    """Whether a holding expires as it is; returns as soon as it is renewed, released or taken."""
    if held.is_of_this_machine:  # and lives: it would not count otherwise
        return False
    print(f"{uri}: held by {held}; waiting for it to be renewed, or to expire", file=sys.stderr)
    while now() < held.expires:
        sleep(min(POLL_SECONDS, max(held.expires - now(), 0.01)))
        if _newest(storage.absolute(uri))[1] != held:
            return False
    return True


def _newest(uri: str) -> tuple[int, Holding | None]:
    """The highest number and its record; 0 and None where there is none yet."""
    for _ in range(MAX_LISTINGS):
        numbers = _numbers(uri)
        if not numbers:
            return 0, None
        file = _numbered(uri, numbers[-1])
        try:
            data = storage.read_bytes(file)
        except InputError:  # cleaned up between the listing and the reading: there is a newer one
            continue
        return numbers[-1], Holding.from_bytes(data, file)
    raise InputError(f"{uri}: its newest file is listed, but cannot be read; {CURE}")


def _numbers(uri: str) -> list[int]:
    if not storage.exists(uri):
        return []
    names = (file.path.removesuffix(".json") for file in storage.list_files(uri) if file.path.endswith(".json"))
    numbers = sorted(int(name) for name in names if NUMBER.fullmatch(name))
    if numbers and numbers[-1] >= MAX_NUMBER:
        raise InputError(f"{_numbered(uri, numbers[-1])}: its number is too high for a lease; {CURE}")
    return numbers


def _numbered(uri: str, number: int) -> str:
    return storage.join(uri, f"{number:06d}.json")
