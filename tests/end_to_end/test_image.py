"""The image is really built, and used: by buildah, from stand-ins for its two bases, which debootstrap makes of Debian.

`make image-test` runs it: root, buildah and debootstrap are needed, a network, 25 GB of disk and half an hour. The
stand-ins have the names of the Dockerfile's bases and no CUDA compiler: the operator is built for CPUs only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import ROOT, TINY_RUN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

WANTED = "AUNET_IMAGE_TEST"
"""Variable that `make image-test` sets: nobody waits half an hour unasked."""
RESULT = "AUNET_IMAGE_RESULT"
"""Variable with a file for size, time and layers."""
PACKAGES = "ca-certificates,python3,python3-pip,python3-venv,python3-dev,g++"
RELEASE, MIRROR = "bookworm", "http://deb.debian.org/debian"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
CPU_ONLY = ("AUNET_OPS_BUILD=require-cuda", "AUNET_OPS_BUILD=require")


def needed() -> str:
    """What is missing for this test; empty: nothing."""
    if not os.environ.get(WANTED):
        return "run it by make image-test"
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if missing:
        return f"needs {' and '.join(missing)}: apt-get install buildah debootstrap"
    return "" if os.geteuid() == 0 else "needs root"


def run(*words: str | Path) -> str:
    """Run a command to its end; its stdout."""
    done = subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


class Store:
    """buildah with images of its own, removed afterwards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = ["--root", str(folder / "images"), "--runroot", str(folder / "run")]
        self.mounts = [
            f"{path}:{path}:ro" for path in ("/etc/hosts", CERTIFICATES, "/etc/pip.conf") if Path(path).exists()
        ]

    def __call__(self, verb: str, *words: str | Path) -> str:
        return run("buildah", *self.storage, verb, *words).strip()

    @property
    def volumes(self) -> list[str]:
        """How this machine reaches the network, for what runs inside."""
        return [word for mount in self.mounts for word in ("--volume", mount)]

    def base(self, rootfs: Path, name: str) -> None:
        """An image of a root file system."""
        container = self("from", "scratch")
        self("copy", "--quiet", container, rootfs, "/")
        self(
            "config",
            "--env",
            f"SSL_CERT_FILE={CERTIFICATES}",
            "--env",
            "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            container,
        )
        self("commit", "--quiet", "--rm", container, name)

    def inside(self, container: str, *words: str, env: dict[str, str] | None = None) -> str:
        """Run a command in a container, as its user; its stdout."""
        variables = [word for name, value in (env or {}).items() for word in ("--env", f"{name}={value}")]
        return self("run", "--isolation", "chroot", *variables, container, "--", *words)


def bases() -> dict[str, str]:
    """Stage → name of its base without a digest, of those that come from a registry."""
    text = (ROOT / "Dockerfile").read_text()
    values = dict(re.findall(r"^ARG (\w+)=(\S+)", text, re.MULTILINE))
    named = re.findall(r"^FROM (\S+)@\S+ AS (\w+)", text, re.MULTILINE)
    return {stage: re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], name) for name, stage in named}


def stand_in(folder: Path) -> Path:
    """Debian with Python, where images of Python have it."""
    rootfs = folder / "rootfs"
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, rootfs, MIRROR)
    for marker in rootfs.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    for name, target in {"python": "python3", "python3": "python3", "pip": "pip3"}.items():
        (rootfs / "usr/local/bin" / name).symlink_to(f"/usr/bin/{target}")
    return rootfs


def dockerfile(folder: Path) -> Path:
    """The Dockerfile without digests, which stand-ins do not have, and without CUDA."""
    text = re.sub(r"^(FROM \S+?)@\S+", r"\1", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert text.count(CPU_ONLY[0]) == 1
    path = folder / "Dockerfile"
    path.write_text(text.replace(*CPU_ONLY))
    return path


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str]]:
    """A container of the built image."""
    if reason := needed():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("image")
    store = Store(folder)
    try:
        rootfs = stand_in(folder)
        for name in bases().values():
            store.base(rootfs, f"docker.io/{name}" if "/" in name else f"docker.io/library/{name}")
        shutil.rmtree(rootfs)
        started = time.monotonic()
        options = ["--isolation", "chroot", "--pull-never", "--format", "docker", *store.volumes]
        store("bud", *options, "--tag", "aunet", "--file", dockerfile(folder), ROOT)
        seconds = time.monotonic() - started
        measured = {"build_seconds": round(seconds), **sizes(store)}
        print(json.dumps(measured, indent=1))
        if os.environ.get(RESULT):
            Path(os.environ[RESULT]).write_text(json.dumps(measured, indent=1) + "\n")
        yield store, store("from", "--pull-never", "localhost/aunet")
    finally:
        run("buildah", *store.storage, "rm", "--all")
        run("buildah", *store.storage, "rmi", "--all", "--force")


def sizes(store: Store) -> dict[str, object]:
    """The image's bytes, and what in it is largest."""
    container = store("from", "--pull-never", "localhost/aunet")
    script = (
        "du -sm --exclude=proc --exclude=sys / 2>/dev/null | cut -f1; "
        "du -m -d1 /usr/local/lib/python3*/*-packages /usr/local/lib/python3*/*-packages/nvidia 2>/dev/null "
        "| sort -rn | head -14"
    )
    total, *largest = store.inside(container, "sh", "-c", script).splitlines()
    store("rm", container)
    folders = {path.rpartition("/")[2]: int(size) for size, path in (line.split("\t") for line in largest)}
    return {"megabytes": int(total), "largest_megabytes": folders}


def test_the_operator_is_compiled_and_right(container: tuple[Store, str]) -> None:
    store, name = container
    code = (
        "import json, torch\n"
        "from aunet_ops import kernel_status, reference, roi_upsample\n"
        "rois = torch.tensor([[0, 3.5, 2, 30, 21], [1, 0, 0, 47, 31]])\n"
        "given = torch.rand(2, 3, 14, 14), rois, (2, 32, 48), 1.0\n"
        "gap = (roi_upsample(*given) - reference.roi_upsample(*given)).abs().max()\n"
        "print(json.dumps([kernel_status()[0].compiled, float(gap)]))"
    )
    compiled, gap = json.loads(store.inside(name, "python", "-c", code).splitlines()[-1])
    assert compiled and gap < 1e-5


def test_its_doctor_is_content(container: tuple[Store, str]) -> None:
    store, name = container
    result = json.loads(store.inside(name, "python", "-m", "jobs", "doctor").splitlines()[-1])
    assert result["checks"] and result["problems"] == [], result


def test_it_trains(container: tuple[Store, str]) -> None:
    store, name = container
    words = [*TINY_RUN, "--train.epochs", "1", "--train.num_workers", "1", "--train.evaluate_every", "0"]
    result = store.inside(name, "python", "-m", "jobs", "train", "shapes_smoke", *words)
    assert json.loads(result.splitlines()[-1])["steps"] > 1
