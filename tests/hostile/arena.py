"""Where hostile input meets the command line: what it may write to, what it must not touch, and how it ended."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aunet.names import printable
from jobs.__main__ import main
from tests.canaries import leaks

Verdict = Literal["refused", "right", "accepted", "traceback", "touched", "endless", "printed", "leaked"]
BAD: tuple[Verdict, ...] = ("accepted", "traceback", "touched", "endless", "printed", "leaked")
"""Accepted wrongly, a traceback, a file outside that changed, no end, a line that commands the terminal, a secret."""
MAX_SECONDS = 30

Result = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One hostile input."""

    kind: str
    name: str
    words: Callable[[Arena], list[str]]
    """Prepares the files in the arena and returns the command line."""
    right: Callable[[Result], bool] | None = None
    """Whether a result, with exit code 0, is right all the same; None: the input must be refused."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """`{work}` in a value stands for the arena's folder."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a case ended."""

    case: Case
    verdict: Verdict
    detail: str


class Endless(BaseException):
    """A case took too long."""


@dataclass
class Arena:
    """A folder in which everything happens.

    `work` is what commands are told of, `outside` holds files that no command was told of; `materials` are pristine
    inputs, copied into `work` for every case that damages them.
    """

    root: Path

    def __post_init__(self) -> None:
        for folder in (self.work, self.outside, self.materials):
            folder.mkdir(parents=True, exist_ok=True)
        for name in ("victim/a.txt", "victim/b/c.json", "outside.png", "1.json", "log"):
            (self.outside / name).parent.mkdir(parents=True, exist_ok=True)
            (self.outside / name).write_text("not yours")

    @property
    def work(self) -> Path:
        return self.root / "deep/er/work"

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def materials(self) -> Path:
        return self.root / "materials"

    def fresh(self, name: str) -> Path:
        """A copy of one of the materials in `work`, to be damaged."""
        return Path(shutil.copytree(self.materials / name, self.work / name, dirs_exist_ok=True))

    def clear(self) -> None:
        """Empty `work`."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True)

    def attack(self, case: Case) -> Ending:
        """Run one case and judge it."""
        self.clear()
        words = case.words(self)
        before = self._surroundings()
        out, err = io.StringIO(), io.StringIO()
        code: int | str = "crash"
        with self._inside(case.environment), contextlib.redirect_stderr(err):
            try:
                with _limited(MAX_SECONDS):
                    code = main(words, out)
            except Endless:
                return Ending(case=case, verdict="endless", detail=f"{MAX_SECONDS} s: {' '.join(words)[:200]}")
            except BaseException as error:
                err.write(f"Traceback: {error!r}")
        verdict, detail = self._judge(case, code, out.getvalue(), err.getvalue())
        if verdict != "touched" and (changed := self._surroundings() ^ before):
            return Ending(case=case, verdict="touched", detail=f"{sorted(changed)[:3]}")
        return Ending(case=case, verdict=verdict, detail=detail)

    def _judge(self, case: Case, code: int | str, out: str, err: str) -> tuple[Verdict, str]:
        lines = err.splitlines()
        if code not in (0, 2, 3) or "Traceback" in err:
            return "traceback", err[-600:]
        if leaked := leaks(out + err):
            return "leaked", f"{leaked[0]} in {err[-300:]}"
        if unprintable := [line for line in lines if printable(line) != line]:
            return "printed", repr(unprintable[0])
        if code in (2, 3):
            reasons = [line for line in lines if line.startswith(("error: ", "refused: ", "damaged: "))]
            if reasons or out:
                return "refused", (reasons or [out])[0]
            return "traceback", f"exit code {code} without a reason: {err[-300:]}"
        result = json.loads(out.splitlines()[-1])
        if case.right is not None and case.right(result):
            return "right", ""
        return "accepted", f"exit code 0: {json.dumps(result)[:300]}"

    @contextlib.contextmanager
    def _inside(self, environment: Mapping[str, str]) -> Iterator[None]:
        """The working directory and the environment of a case."""
        saved, folder = dict(os.environ), os.getcwd()
        os.environ["AUNET_STORE"] = str(self.work / "store")
        for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
            os.environ.pop(name, None)
        os.environ |= {name: value.replace("{work}", str(self.work)) for name, value in environment.items()}
        os.chdir(self.work)
        try:
            yield
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(saved)

    def _surroundings(self) -> set[tuple[str, int, int]]:
        """Every file of the arena that no case may touch: path, size, time of change."""
        files: set[tuple[str, int, int]] = set()
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if Path(folder, name) != self.work]
            for name in (*folders, *names):
                state = os.lstat(os.path.join(folder, name))
                is_folder = name in folders
                files.add(
                    (
                        os.path.join(folder, name),
                        0 if is_folder else state.st_size,
                        0 if is_folder else state.st_mtime_ns,
                    )
                )
        return files


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Raise `Endless` in this thread after so many seconds."""

    def stop(*_: Any) -> None:
        raise Endless

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
