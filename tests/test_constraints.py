"""constraints.txt: every file that set-up installs has a hash, and a file with another one is refused."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.commands import ROOT

PINS = re.findall(
    r"^([A-Za-z0-9][^\\\n]*?) \\\n((?: {4}--hash=\S+(?: \\)?\n)+)",
    (ROOT / "constraints.txt").read_text(),
    re.MULTILINE,
)
"""Each requirement and its lines of hashes."""
UV = Path(sys.executable).with_name("uv")
OWN = {"aunet-ops"}
"""Built from the checkout."""


def test_every_pin_has_hashes() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(PINS) > 200 and len(PINS) == sum(not line.startswith(" ") for line in lines)
    for pin, hashes in PINS:
        assert [specifier.operator for specifier in Requirement(pin).specifier] == ["=="], pin
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", word) for word in hashes.replace("\\", "").split()), pin


def needed() -> set[str]:
    """Every package that the project needs on this machine, with what those need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [
        *project["dependencies"],
        *(text for extra in project["optional-dependencies"].values() for text in extra),
    ]
    names: set[str] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name not in names and name not in OWN:
            names.add(name)
            more = map(Requirement, importlib.metadata.requires(name) or ())
            extras = {"", *requirement.extras}
            waiting += [str(r) for r in more if not r.marker or any(r.marker.evaluate({"extra": e}) for e in extras)]
    return names


def test_everything_needed_is_pinned() -> None:
    """No package slips in without a hash because another needs it."""
    pins = {canonicalize_name(Requirement(pin).name) for pin, _ in PINS}
    assert len(needed()) > 100 and needed() - pins == set()


def test_set_up_checks_the_hashes() -> None:
    text = (ROOT / "Makefile").read_text()
    assert re.search(r"^INSTALL := \$\(UV\) pip install .*-c constraints\.txt$", text, re.MULTILINE)
    assert re.search(r"-m pip install .*--require-hashes", text) and "--no-verify-hashes" not in text
    assert "--generate-hashes" in text.split("\nlock:")[1].split("\n\n")[0]
    others = [line for line in text.splitlines() if re.search(r"pip install", line) and "$(INSTALL)" not in line]
    assert len(others) == 2, others


def test_the_installer_itself_is_installed_by_its_hashes() -> None:
    """The command by which set-up and image pick the lines of uv."""
    for name in ("Makefile", "Dockerfile"):
        expression = re.search(r"sed -n '(/\^uv==/[^']*)' constraints\.txt", (ROOT / name).read_text())
        assert expression, name
        command = ["sed", "-n", expression[1].replace("$$", "$"), str(ROOT / "constraints.txt")]
        picked = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert picked.startswith("uv==") and picked.count("==") == 1 and picked.count("--hash=sha256:") > 5


def wheel(folder: Path) -> Path:
    """A package of one empty module."""
    about = "pinned-1.0.dist-info"
    files = {
        "pinned.py": b"",
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: pinned\nVersion: 1.0\n",
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {n: base64.urlsafe_b64encode(hashlib.sha256(c).digest()).rstrip(b"=").decode() for n, c in files.items()}
    record = "".join(f"{n},sha256={digests[n]},{len(c)}\n" for n, c in files.items()) + f"{about}/RECORD,,\n"
    path = folder / "pinned-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, f"{about}/RECORD": record.encode()}.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("tampered", [False, True], ids=["as pinned", "tampered with"])
def test_a_file_with_another_hash_is_not_installed(tmp_path: Path, tampered: bool) -> None:
    """By the options with which set-up installs, without a network."""
    path = wheel(tmp_path)
    constraints = f"pinned==1.0 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
    (tmp_path / "constraints.txt").write_text(constraints)
    if tampered:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("more.py", b"")
    command = [
        str(UV),
        "pip",
        "install",
        "--quiet",
        "--python",
        sys.executable,
        "-c",
        str(tmp_path / "constraints.txt"),
    ]
    offline = ["--offline", "--no-cache", "--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "in")]
    done = subprocess.run([*command, *offline, "pinned"], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (tmp_path / "in" / "pinned.py").exists() == (not tampered), done.stderr
    assert ("Hash mismatch" in done.stderr) == tampered


def test_known_vulnerabilities_are_looked_for_every_week() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/audit.yml").read_text())
    assert workflow[True]["schedule"] and workflow["permissions"] == {"contents": "read"}
    commands = [step.get("run", "") for step in workflow["jobs"]["dependencies"]["steps"]]
    assert any(re.search(r"pip-audit .*-r constraints\.txt .*--require-hashes", command) for command in commands)


@pytest.mark.parametrize("name", ["audit.yml", "ci.yml"])
def test_actions_are_named_by_their_commit(name: str) -> None:
    used = re.findall(r"uses: (\S+)(.*)", (ROOT / ".github/workflows" / name).read_text())
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) and note for action, note in used), used
