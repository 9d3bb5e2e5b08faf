"""A lease: of those who want to do one thing only one does it, on a folder or on S3, however the holder ends.

`<place>/000001.json`, `000002.json`, …: the newest number counts. Whoever finds it released or expired creates the next
one exclusively, and reads back that it is his and the newest. The holder renews his own file from a thread, three times
per lease; one who was suspended past his expiry, or overtaken, is told by `Lease.check`.

Assumed: a listing shows all that was written before, and the hosts' clocks differ by less than half a lease.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from aunet.errors import InputError, Refused
from pipelines import storage

SETTLE_SECONDS = 2.0
"""Wait before reading back on a remote store: some (Swift) let two create one file at one moment; the later stays."""

Clock = Callable[[], float]
"""Seconds since 1970."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """The content of one numbered file."""

    holder: str
    """host/pid."""
    token: str
    """Tells apart two holders of one name."""
    since: float
    expires: float
    """Seconds since 1970, as `since`; 0 once released."""

    def __str__(self) -> str:
        until = f"until {_iso(self.expires)} unless renewed" if self.expires else "released"
        return f"{self.holder} since {_iso(self.since)}, {until}"


class Held(Refused):
    """Somebody else holds the lease."""

    def __init__(self, place: str, record: Record) -> None:
        self.record = record
        super().__init__(f"{place}: held by {record}")


class Lost(Refused):
    """The lease was ours and no longer is: nothing may be committed under it."""


class Lease:
    """A lease that was won. `hold` makes it, renews it and gives it back."""

    def __init__(self, place: str, number: int, record: Record, seconds: float, now: Clock) -> None:
        self.place, self.number, self.record, self.seconds = place, number, record, seconds
        self.lost = ""
        """Why the lease is no longer ours; empty while it is."""
        self._now = now

    def check(self) -> None:
        """Make sure that the lease is still ours; call it before what must not be done twice.

        Raises:
            Lost: it expired, or somebody has taken it.
        """
        if not self.lost:
            number, newest = _newest(self.place)
            if newest is None or (number, newest.token) != (self.number, self.record.token):
                self.lost = f"taken by {newest}" if newest else "its files are gone"
            elif self._now() >= self.record.expires:
                self.lost = f"expired at {_iso(self.record.expires)} before it could be renewed"
        if self.lost:
            raise Lost(f"{self.place}: lease of {self.record.holder} lost: {self.lost}")

    def renew(self) -> None:
        """Hold it for another period from now.

        Raises:
            Lost: it expired, or somebody has taken it.
        """
        self.check()
        self.record = replace(self.record, expires=self._now() + self.seconds)
        self._write()

    def release(self) -> None:
        """Give it back, if it is still ours."""
        with contextlib.suppress(Lost):
            self.check()
            self.record = replace(self.record, expires=0.0)
            self._write()

    def _write(self) -> None:
        storage.write_bytes(_numbered(self.place, self.number), _to_bytes(self.record))


@contextlib.contextmanager
def hold(
    place: str,
    seconds: float,
    *,
    on_lost: Callable[[], object] | None = None,
    now: Clock = time.time,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Lease]:
    """Hold the lease at `place` while the block runs; a thread renews it.

    Args:
        place: folder or URI of the lease's files.
        seconds: a holder that died is succeeded after so many.
        on_lost: called in that thread when the lease is lost, to stop what the block does.

    Raises:
        Held: somebody else holds it.
        Lost: instead of whatever ended the block, when the lease was lost meanwhile.
    """
    lease = acquire(place, seconds, now=now, sleep=sleep)
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(lease, done, on_lost), name=f"lease {place}", daemon=True)
    keeper.start()
    try:
        yield lease
    except BaseException:
        if lease.lost:
            lease.check()
        raise
    finally:
        done.set()
        keeper.join()
        lease.release()


def acquire(
    place: str, seconds: float, *, now: Clock = time.time, sleep: Callable[[float], object] = time.sleep
) -> Lease:
    """Win the lease at `place`, without a thread that renews it.

    Raises:
        Held: somebody else holds it, or was faster.
    """
    place = storage.absolute(place)
    number, newest = _newest(place)
    if newest is not None and newest.expires > now():
        raise Held(place, newest)
    number, since = number + 1, now()
    mine = Record(
        holder=f"{socket.gethostname()}/{os.getpid()}", token=uuid.uuid4().hex, since=since, expires=since + seconds
    )
    created = storage.create_exclusive(_numbered(place, number), _to_bytes(mine))
    if created and "://" in place:
        sleep(SETTLE_SECONDS)
    # A slow contender may have created a number that was held, given back and cleaned up long ago.
    last, newest = _newest(place)
    if newest is not None and (last, newest.token) != (number, mine.token):
        raise Held(place, newest)
    for old in _numbers(place):
        if old < number:
            storage.delete(_numbered(place, old))
    return Lease(place, number, mine, seconds, now)


def _keep(lease: Lease, done: threading.Event, on_lost: Callable[[], object] | None) -> None:
    while not done.wait(lease.seconds / 3):
        try:
            lease.renew()
        except Lost as lost:
            print(lost, file=sys.stderr)
            if on_lost and not done.is_set():
                on_lost()
            return
        except Exception as error:  # noqa: BLE001 - a store that is away for a moment; the expiry decides
            print(f"{lease.place}: not renewed ({type(error).__name__}: {error}); trying again", file=sys.stderr)


def _newest(place: str) -> tuple[int, Record | None]:
    """The highest number and what it says; 0 and None where there is none yet."""
    while numbers := _numbers(place):
        with contextlib.suppress(InputError):  # cleaned up between the listing and the reading: there is a newer one
            return numbers[-1], Record(**json.loads(storage.read_bytes(_numbered(place, numbers[-1]))))
    return 0, None


def _numbers(place: str) -> list[int]:
    if not storage.exists(place):
        return []
    names = (re.fullmatch(r"(\d+)\.json", file.path) for file in storage.list_files(place))
    return sorted(int(name[1]) for name in names if name)


def _numbered(place: str, number: int) -> str:
    return storage.join(place, f"{number:06d}.json")


def _to_bytes(record: Record) -> bytes:
    return json.dumps(asdict(record)).encode()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
