"""Container images without Docker: buildah, with images of its own, and stand-ins for the bases made by debootstrap."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.commands import ROOT

PACKAGES = "ca-certificates,python3,python3-venv,g++"
RELEASE, MIRROR = "bookworm", "http://deb.debian.org/debian"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
SYSTEM = {"SSL_CERT_FILE": CERTIFICATES, "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""Variables of a stand-in: what reaches the network, and the search path of the image of Python."""
CPU_ONLY = ("AUNET_OPS_BUILD=require-cuda", "AUNET_OPS_BUILD=require")


def needed() -> str:
    """What is missing for an image to be built; empty: nothing."""
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if missing:
        return f"needs {' and '.join(missing)}: apt-get install buildah debootstrap"
    return "" if os.geteuid() == 0 else "needs root"


def ended(*words: str | Path, folder: Path = ROOT, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run a command in `folder` to its end; its exit code, stdout and stderr."""
    command = [str(word) for word in words]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def output(*words: str | Path, folder: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """Run a command that must end well; its stdout."""
    code, out, err = ended(*words, folder=folder, env=env)
    assert code == 0, f"{words}\nexit code {code}\n{out[-3000:]}\n{err[-3000:]}"
    return out


class Buildah:
    """buildah with images of its own.

    Args:
        folder: for images and containers; `remove` empties it.
    """

    def __init__(self, folder: Path) -> None:
        self.images = folder / "images"
        self.options = ["--root", str(self.images), "--runroot", str(folder / "run")]
        self.mounts = [
            f"{path}:{path}:ro" for path in ("/etc/hosts", CERTIFICATES, "/etc/pip.conf") if Path(path).exists()
        ]

    def __call__(self, verb: str, *words: str | Path) -> str:
        return output("buildah", *self.options, verb, *words).strip()

    def base(self, rootfs: Path, *names: str) -> None:
        """An image of a root file system, under each of the names."""
        container = self("from", "scratch")
        self("copy", "--quiet", container, rootfs, "/")
        variables = [word for name, value in SYSTEM.items() for word in ("--env", f"{name}={value}")]
        self("config", *variables, container)
        first, *others = names
        self("commit", "--quiet", "--rm", container, first)
        for name in others:
            self("tag", first, name)

    def build(self, dockerfile: Path, context: Path, name: str) -> None:
        """Build the last stage of a Dockerfile; what runs in it reaches the network as this machine does."""
        mounts = [word for mount in self.mounts for word in ("--volume", mount)]
        options = ["--isolation", "chroot", "--pull-never", "--format", "docker", *mounts]
        self("bud", *options, "--tag", name, "--file", dockerfile, context)

    def run(self, container: str, *words: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Run a command in a container, as its user; its exit code, stdout and stderr."""
        variables = [word for name, value in (env or {}).items() for word in ("--env", f"{name}={value}")]
        return ended("buildah", *self.options, "run", "--isolation", "chroot", *variables, container, "--", *words)

    def inside(self, container: str, *words: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command that must end well; its stdout."""
        code, out, err = self.run(container, *words, env=env)
        assert code == 0, f"{words}\nexit code {code}\n{out[-3000:]}\n{err[-3000:]}"
        return out

    def remove(self) -> None:
        """Remove all containers and images, and the mount that buildah leaves."""
        self("rm", "--all")
        self("rmi", "--all", "--force")
        ended("umount", self.images / "overlay")


def bases() -> list[str]:
    """The full names of the images that the Dockerfile starts from, without their digests."""
    text = (ROOT / "Dockerfile").read_text()
    values = dict(re.findall(r"^ARG (\w+)=(\S+)", text, re.MULTILINE))
    names = [
        re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], name)
        for name in re.findall(r"^FROM (\S+)@\S+ AS \w+", text, re.MULTILINE)
    ]
    return [f"docker.io/{name}" if "/" in name else f"docker.io/library/{name}" for name in names]


def stand_in(rootfs: Path) -> None:
    """Debian with Python, where images of Python have it; without a CUDA compiler."""
    output("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, rootfs, MIRROR)
    for marker in rootfs.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    for name in ("python", "python3"):
        (rootfs / "usr/local/bin" / name).symlink_to("/usr/bin/python3")


def dockerfile_for_stand_ins(path: Path) -> Path:
    """The Dockerfile at `path`, without digests, which stand-ins do not have, and without CUDA."""
    text = re.sub(r"^(FROM \S+?)@\S+", r"\1", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert text.count(CPU_ONLY[0]) == 1
    path.write_text(text.replace(*CPU_ONLY))
    return path


def checkout(folder: Path) -> Path:
    """A copy in `folder` of all that the Dockerfile copies, which nobody edits while it is built."""
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name in {".dockerignore", *(name for names in copied for name in names.split())}:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(source, folder / name)
    return folder


def sizes(buildah: Buildah, image: str) -> dict[str, object]:
    """MB of an image's files, and of what in it is largest."""
    container = buildah("from", "--pull-never", image)
    packages = "/usr/local/lib/python3*/*-packages"
    script = (
        "du -sm --exclude=/proc --exclude=/sys / 2>/dev/null | cut -f1; "
        f"du -m -d1 {packages} {packages}/nvidia 2>/dev/null | sort -rn | head -14; "
        f"find {packages} -name __pycache__ -prune -print0 | du -cm --files0-from=- | tail -1"
    )
    total, *largest = buildah.inside(container, "sh", "-c", script).splitlines()
    buildah("rm", container)
    folders = {path.rpartition("/")[2]: int(size) for size, path in (line.split("\t") for line in largest)}
    folders["__pycache__"] = folders.pop("total")
    return {"megabytes": int(total), "largest_megabytes": folders}
