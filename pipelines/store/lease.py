"""A lease: of those who want to do one thing only one does it, in a folder or on S3, however the holder ends.

`<uri>/000001.json`, `000002.json`, …: the newest number counts. A process that finds it released or expired creates the
next one exclusively, and reads back that the file is its own and the newest. The holder renews its file from a thread,
three times per lease; `Lease.check` raises when it was suspended past its expiry, or overtaken.

Assumptions: a listing shows all that was written before, and the hosts' clocks differ by less than half a lease.
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
from pipelines.store import storage

SETTLE_SECONDS = 2.0
"""Wait before reading back from a remote store: some (Swift) let two create one file at one moment; the later stays."""

Clock = Callable[[], float]
"""Seconds since 1970."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
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

    def __init__(self, uri: str, record: Holding) -> None:
        self.record = record
        super().__init__(f"{uri}: held by {record}")


class Lost(Refused):
    """The lease was ours and no longer is: nothing may be committed under it."""


class Lease:
    """A lease that was won. `hold` creates, renews and releases it."""

    def __init__(self, uri: str, number: int, record: Holding, seconds: float, now: Clock) -> None:
        self.uri, self.number, self.record, self.seconds = uri, number, record, seconds
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
            elif self._now() >= self.record.expires:
                self.lost = f"expired at {_iso(self.record.expires)} before it could be renewed"
        if self.lost:
            raise Lost(f"{self.uri}: lease of {self.record.holder} lost: {self.lost}")

    def renew(self) -> None:
        """Hold it for another period from now.

        Raises:
            Lost: it expired, or somebody else has taken it.
        """
        self.check()
        self.record = replace(self.record, expires=self._now() + self.seconds)
        self._write()

    def release(self) -> None:
        """Release it, if it is still ours."""
        with contextlib.suppress(Lost):
            self.check()
            self.record = replace(self.record, expires=0.0)
            self._write()

    def _write(self) -> None:
        storage.write_bytes(_numbered(self.uri, self.number), _to_bytes(self.record))


@contextlib.contextmanager
def hold(
    uri: str,
    seconds: float,
    *,
    on_lost: Callable[[], object] | None = None,
    now: Clock = time.time,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Lease]:
    """Hold the lease at `uri` while the block runs; a thread renews it.

    Args:
        uri: folder or URI of the lease's files.
        seconds: the lease of a holder that died expires after that many.
        on_lost: called in that thread when the lease is lost, to stop what the block does.

    Raises:
        Held: somebody else holds it.
        Lost: instead of whatever ended the block, when the lease was lost in the meantime.
    """
    lease = acquire(uri, seconds, now=now, sleep=sleep)
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(lease, done, on_lost), name=f"lease {uri}", daemon=True)
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
    uri: str, seconds: float, *, now: Clock = time.time, sleep: Callable[[float], object] = time.sleep
) -> Lease:
    """Win the lease at `uri`, without a thread that renews it.

    Raises:
        Held: somebody else holds it, or was faster.
    """
    uri = storage.absolute(uri)
    number, newest = _newest(uri)
    if newest is not None and newest.expires > now():
        raise Held(uri, newest)
    number, since = number + 1, now()
    mine = Holding(
        holder=f"{socket.gethostname()}/{os.getpid()}", token=uuid.uuid4().hex, since=since, expires=since + seconds
    )
    created = storage.create_exclusive(_numbered(uri, number), _to_bytes(mine))
    if created and storage.is_remote(uri):
        sleep(SETTLE_SECONDS)
    # A slow contender may have created a number that was held, released and cleaned up long ago.
    last, newest = _newest(uri)
    if newest is not None and (last, newest.token) != (number, mine.token):
        raise Held(uri, newest)
    for old in _numbers(uri):
        if old < number:
            storage.delete(_numbered(uri, old))
    return Lease(uri, number, mine, seconds, now)


def _keep(lease: Lease, done: threading.Event, on_lost: Callable[[], object] | None) -> None:
    while not done.wait(lease.seconds / 3):
        try:
            lease.renew()
        except Lost as lost:
            print(lost, file=sys.stderr)
            if on_lost and not done.is_set():
                on_lost()
            return
        except Exception as error:  # noqa: BLE001 - a store may be unreachable for a moment; the expiry decides
            print(f"{lease.uri}: not renewed ({type(error).__name__}: {error}); trying again", file=sys.stderr)


def _newest(uri: str) -> tuple[int, Holding | None]:
    """The highest number and its record; 0 and None where there is none yet."""
    while numbers := _numbers(uri):
        with contextlib.suppress(InputError):  # cleaned up between the listing and the reading: there is a newer one
            return numbers[-1], Holding(**json.loads(storage.read_bytes(_numbered(uri, numbers[-1]))))
    return 0, None


def _numbers(uri: str) -> list[int]:
    if not storage.exists(uri):
        return []
    names = (re.fullmatch(r"(\d+)\.json", file.path) for file in storage.list_files(uri))
    return sorted(int(name[1]) for name in names if name)


def _numbered(uri: str, number: int) -> str:
    return storage.join(uri, f"{number:06d}.json")


def _to_bytes(record: Holding) -> bytes:
    return json.dumps(asdict(record)).encode()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
