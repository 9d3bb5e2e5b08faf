"""The version of the code: a hash of its sources, the same in a checkout, in an image and in a job's working folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from aunet.errors import InputError

PACKAGES = ("aunet", "aunet_ops", "pipelines")
CODE = "AUNET_CODE"
"""In a pod: the version of the code that submitted it."""


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


def check_code(environment: Mapping[str, str]) -> None:
    """Refuse to work in a pod whose image holds other code than its job was submitted from.

    Raises:
        InputError: it does.
    """
    if (sent := environment.get(CODE)) and sent != code_version():
        raise InputError(
            f"the image holds code {code_version()}, but the job was submitted from code {sent}; build and push an "
            "image of that checkout and name it in --cluster.image, or submit from the checkout that this image is of"
        )
