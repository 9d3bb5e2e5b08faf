"""A small disk of its own for tests of what happens when there is no room, or nothing may be written."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

BALLAST = "ballast"


class Disk:
    """A file system in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, spare: int = 0) -> None:
        """Leave `spare` bytes, rounded down to whole pages."""
        with contextlib.suppress(OSError), open(self.path / BALLAST, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with open(self.path / BALLAST, "r+b") as file:
            file.truncate(max(0, file.seek(0, 2) // 4096 * 4096 - spare))

    def free(self) -> None:
        """Make room again."""
        (self.path / BALLAST).unlink()

    def grow(self, megabytes: int) -> None:
        """Change its size."""
        subprocess.run(["mount", "-o", f"remount,size={megabytes}m", self.path], check=True)

    def protect(self, yes: bool = True) -> None:
        """Allow reading only, or writing again."""
        subprocess.run(["mount", "-o", f"remount,{'ro' if yes else 'rw'}", self.path], check=True)

    def files(self) -> dict[str, bytes]:
        """What is on it, without the ballast."""
        paths = [path for path in self.path.rglob("*") if path.is_file() and path.name != BALLAST]
        return {str(path.relative_to(self.path)): path.read_bytes() for path in paths}


@contextlib.contextmanager
def small_disk(path: Path, megabytes: float) -> Iterator[Disk]:
    """A disk at `path`; the test skips where none can be mounted."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={round(megabytes * 1024)}k", "tmpfs", path],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"needs to mount a small disk, which only root may: {mounted.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)
