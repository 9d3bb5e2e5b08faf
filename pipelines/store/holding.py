"""What somebody holds for a while: the record in the store, and the thread that renews it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Protocol

from aunet.config_json import from_json
from aunet.errors import InputError, Refused
from aunet.ranges import Range, check_ranges
from pipelines.store.stored_json import stored_object

CURE = "delete the file once nobody works here any more"

Clock = Callable[[], float]
"""Seconds since 1970."""
Moment = Annotated[float, Range(at_least=0, below=253_402_300_800)]
"""Seconds since 1970, before the year 10000."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """The content of a file that says who holds something, and until when."""

    holder: str
    """host/pid."""
    token: str
    """Tells apart two holders of one name."""
    since: Moment
    expires: Moment
    """0 once released."""
    process: str = ""
    """Boot of the machine, namespace, id and start of the process; empty where the system does not say."""

    def __post_init__(self) -> None:
        check_ranges(self, "holding")

    @classmethod
    def begin(cls, seconds: float, now: float) -> Holding:
        """A holding of this process from `now` on."""
        holder = f"{socket.gethostname()}/{os.getpid()}"
        process = _process(os.getpid())
        return cls(holder=holder, token=uuid.uuid4().hex, since=now, expires=now + seconds, process=process)

    @classmethod
    def from_bytes(cls, data: bytes, source_name: str) -> Holding:
        """The holding in a file.

        Raises:
            InputError: there is none in it.
        """
        plain = stored_object(data, source_name, CURE)
        try:
            return from_json(cls, plain, "holding")
        except InputError as error:
            raise InputError(f"{source_name}: {problem}; {CURE}" for problem in error.problems) from None

    def counts(self, now: float) -> bool:
        """Whether it is not expired, and its process is not known to have ended."""
        return self.expires > now and not self._is_orphaned()

    @property
    def is_of_this_machine(self) -> bool:
        """Whether its process, dead or alive, is one that can be seen from here."""
        *machine, pid, _ = self.process.split("/") if self.process else ("", "")
        *here, _, _ = _process(os.getpid()).split("/") if self.process else ("", "")
        return bool(machine) and machine == here and pid.isdecimal()

    def _is_orphaned(self) -> bool:
        """Whether it belongs to a process of this machine that is no more."""
        return self.is_of_this_machine and _process(int(self.process.split("/")[-2])) != self.process

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    def __str__(self) -> str:
        until = f"until {iso(self.expires)} unless renewed" if self.expires else "released"
        return f"{self.holder} since {iso(self.since)}, {until}"


def _process(pid: int) -> str:
    """What tells a process of this machine from all others, also from a later one with its id."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ended = state[0] in "ZX"
        return "" if ended else f"{boot}/{os.readlink('/proc/self/ns/pid')}/{pid}/{state[19]}"
    except (OSError, IndexError):
        return ""


class Lost(Refused):
    """The lease was ours and no longer is: nothing may be committed under it."""


class Renewable(Protocol):
    """What is held for a while only."""

    @property
    def uri(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    def renew(self) -> None: ...


@contextlib.contextmanager
def renewed(held: Renewable, on_lost: Callable[[], object] | None = None) -> Iterator[None]:
    """Renew `held` from a thread while the block runs, three times in its seconds.

    Args:
        on_lost: called in that thread when it is lost.
    """
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(held, done, on_lost), name=f"lease {held.uri}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()


def _keep(held: Renewable, done: threading.Event, on_lost: Callable[[], object] | None) -> None:
    while not done.wait(held.seconds / 3):
        try:
            held.renew()
        except Lost as lost:
            print(lost, file=sys.stderr)
            if on_lost and not done.is_set():
                on_lost()
            return
        except Exception as error:  # noqa: BLE001 - a store may be unreachable for a moment; the expiry decides
            print(f"{held.uri}: not renewed ({type(error).__name__}: {error}); trying again", file=sys.stderr)


def iso(seconds: float) -> str:
    """Seconds since 1970 as a date."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
