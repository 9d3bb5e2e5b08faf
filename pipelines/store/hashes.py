"""The hashes of folders of models and checkpoints, whose file formats have none of their own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from aunet.documents import read_object
from aunet.errors import InputError, Unavailable
from aunet.model_files import CONFIG, HASHES, PROGRAM, WEIGHTS
from aunet.names import NAME
from pipelines.store import storage

STATE = "state.pt"
"""Of a checkpoint."""
CONTENTS = (WEIGHTS, PROGRAM, STATE)
"""A trained model, an exported one, a checkpoint: a folder with hashes holds one of them, and `CONFIG`."""
MAX_LIST = 2**20
"""Bytes of a list of hashes."""
MAX_NAMED = 20
"""Files that a message names."""
_SHA256 = re.compile("[0-9a-f]{64}")


def write_hashes(folder: Path) -> dict[str, str]:
    """Write `sha256.json`: the SHA-256 of every other file of the folder, which is returned by file name."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != HASHES)
    hashes = {path.name: _sha256(path) for path in files}
    (folder / HASHES).write_text(json.dumps(hashes, indent=1))
    return hashes


def check_empty(uri: str) -> None:
    """Accept a folder that does not exist yet, or is empty.

    Raises:
        InputError: there is something at `uri`.
    """
    if storage.exists(uri) and storage.list_files(uri):
        raise InputError(f"{uri}: not empty; give a new folder, or delete this one")


def upload_hashed(folder: Path, uri: str, *, commit: Callable[[str, bytes], None] = storage.write_bytes) -> None:
    """Copy a folder with hashes to a new one, the list last: a folder without it is not used. It appears whole or not.

    Args:
        folder: is not used any more afterwards.
        commit: writes the list.

    Raises:
        InputError: there is something at `uri` already.
    """
    check_empty(uri)
    hashes = (folder / HASHES).read_bytes()
    (folder / HASHES).unlink()
    try:
        storage.upload_folder(folder, uri)
        commit(storage.join(uri, HASHES), hashes)
    except BaseException:
        with contextlib.suppress(OSError, Unavailable):
            storage.delete(uri)
        raise


def read_hashes(uri: str) -> tuple[dict[str, str], list[str]]:
    """File name → SHA-256 of a folder of a model or a checkpoint, and the paths of the files that its list lacks.

    Raises:
        InputError: there is no list, it is damaged, or it lacks what every such folder holds.
    """
    source_name, cure = storage.join(uri, HASHES), "fetch the folder again, or name another"
    sizes = {file.path: file.size for file in storage.list_files(uri)}
    if HASHES not in sizes:
        raise InputError(f"{uri}: {HASHES} is missing; this is no complete checkpoint or model, name another folder")
    if sizes[HASHES] > MAX_LIST:
        raise InputError(f"{source_name}: {sizes[HASHES]} bytes, more than {MAX_LIST}; {cure}")
    try:
        hashes = read_object(storage.read_bytes(source_name), source_name)
    except InputError as error:
        raise InputError(f"{error}; {cure}") from None
    for name, sha256 in hashes.items():
        if not NAME.fullmatch(name) or not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise InputError(f"{source_name}: {name!r:.80}: {sha256!r:.80} is not a file name and its SHA-256; {cure}")
    contents = [name for name in CONTENTS if name in hashes]
    if CONFIG not in hashes or len(contents) != 1:
        raise InputError(
            f"{source_name}: names {', '.join(hashes) or 'no file':.200}, not {CONFIG} and one of "
            f"{', '.join(CONTENTS)}; {cure}"
        )
    return hashes, [path for path in sizes if path not in hashes and path != HASHES]


def check_listing(uri: str) -> dict[str, str]:
    """The hashes of a folder whose list names every file in it; the files are not read.

    Raises:
        InputError: as for `read_hashes`, or naming each file that is not listed.
    """
    hashes, unlisted = read_hashes(uri)
    if unlisted:
        raise InputError(
            f"{storage.join(uri, name)}: not listed in {HASHES}; remove it, or fetch the folder again"
            for name in unlisted[:MAX_NAMED]
        )
    return hashes


def check_hashes(folder: Path) -> dict[str, str]:
    """Compare every file with `sha256.json`, which is returned.

    Raises:
        InputError: the list is damaged or incomplete, or naming each file that is missing, damaged or not listed.
    """
    expected = check_listing(str(folder))
    damaged = [name for name, sha in expected.items() if not (folder / name).is_file() or _sha256(folder / name) != sha]
    if damaged:
        raise InputError(
            f"{folder / name}: missing, or its SHA-256 is not the one in {HASHES}; fetch it again or remove the folder"
            for name in damaged
        )
    return expected


def digest(uri: str) -> str:
    """One SHA-256 that names a folder of a model or a checkpoint: that of its list, which names the files' own.

    Raises:
        InputError: as for `check_listing`.
    """
    return digest_of(check_listing(uri))


def digest_of(hashes: dict[str, str]) -> str:
    """The same of a list, in whatever order."""
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
