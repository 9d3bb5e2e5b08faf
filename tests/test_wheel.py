"""The library's wheel: what is in it, what it says of itself, and that it works without the checkout."""

from __future__ import annotations

import email
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.commands import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = ["aunet", "benchmarks", "docs", "jobs", "ops", "pipelines", "tests"]
"""Folders that are there when the wheel is built; only the first belongs into it."""


def run(code: str, folder: Path, **environment: str) -> str:
    """What `code` prints in a fresh process that finds nothing but the installed packages."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the backend that pyproject.toml names, in a copy of the checkout, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copytree(
            ROOT / name, folder / "checkout" / name, ignore=shutil.ignore_patterns("__pycache__", "build", "*.so")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "checkout")
    name = run(
        f"from setuptools.build_meta import build_wheel; print(build_wheel({str(folder)!r}))", folder / "checkout"
    )
    return folder / name


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_holds_the_library_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "aunet").rglob("*.py")}
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == modules | {"aunet/py.typed"}
    assert {name.split("/", 1)[1] for name in about} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "licenses/LICENSE",
        "top_level.txt",
    }


def test_the_metadata_are_those_of_the_project(wheel: Path) -> None:
    about = metadata(wheel)
    assert (about["Name"], about["Requires-Python"]) == (PROJECT["name"], PROJECT["requires-python"])
    assert about["License-Expression"] == PROJECT["license"]
    required = {Requirement(text) for text in about.get_all("Requires-Dist", [])}
    extras = PROJECT["optional-dependencies"]
    assert {r for r in required if r.marker is None} == {Requirement(text) for text in PROJECT["dependencies"]}
    assert set(about.get_all("Provides-Extra", [])) == extras.keys()
    assert len(required) == len(PROJECT["dependencies"]) + sum(map(len, extras.values()))


def test_the_library_works_from_the_wheel_alone_and_reads_settings_without_torch(wheel: Path, tmp_path: Path) -> None:
    code = (
        "import sys, aunet; from aunet import AUNetConfig; AUNetConfig()\n"
        "print(aunet.__version__, 'torch' in sys.modules, aunet.__file__)"
    )
    version, torch_loaded, file = run(code, tmp_path, PYTHONPATH=str(wheel)).split(maxsplit=2)
    assert version == metadata(wheel)["Version"] and f"-{version}-" in wheel.name
    assert torch_loaded == "False"
    assert Path(file).is_relative_to(wheel)
