"""The version of the code: a hash of its sources, the same in a checkout, in an image and in a job's working folder."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("aunet", "aunet_ops", "pipelines")


@lru_cache
def code_version(*, own_presets: bool = True) -> str:
    """12 hex digits over every Python source of the library, the operator and the pipelines.

    A change in a comment counts: better one run too many than two that nobody can tell apart.

    Args:
        own_presets: whether the files `preset_NAME.py` count, whose settings a run's identity holds anyway.
    """
    digest = hashlib.sha256()
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None and spec.submodule_search_locations, package
        folder = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(folder.rglob("*.py"), key=lambda p: p.relative_to(folder).as_posix()):
            if not own_presets and path.name.startswith("preset_"):
                continue
            digest.update(f"{package}/{path.relative_to(folder).as_posix()}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
