"""The hashes of folders of models and checkpoints, whose file formats have none of their own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from aunet.errors import InputError
from pipelines.store.layout import HASHES


def write_hashes(folder: Path) -> dict[str, str]:
    """Write `sha256.json`: the SHA-256 of every other file of the folder, which is returned by file name."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != HASHES)
    hashes = {path.name: _sha256(path) for path in files}
    (folder / HASHES).write_text(json.dumps(hashes, indent=1))
    return hashes


def check_hashes(folder: Path) -> None:
    """Compare every file with `sha256.json`.

    Raises:
        InputError: naming each file that is missing or damaged.
    """
    if not (folder / HASHES).is_file():
        raise InputError(f"{folder}: {HASHES} is missing; this is no complete checkpoint or model, name another folder")
    expected: dict[str, str] = json.loads((folder / HASHES).read_text())
    damaged = [name for name, sha in expected.items() if not (folder / name).is_file() or _sha256(folder / name) != sha]
    if damaged:
        raise InputError(
            f"{folder / name}: missing, or its SHA-256 is not the one in {HASHES}; fetch it again or remove the folder"
            for name in damaged
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
