"""What `doctor` checks on this machine. Each check returns a finding; what it cannot find out, it raises."""

from __future__ import annotations

import importlib.metadata
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement

from aunet.errors import Unavailable
from aunet_ops.segment_maps import reader_status
from pipelines.runtime.nvidia_smi import nvidia_smi
from pipelines.store import storage

CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
REPAIR = "make setup, or: uv pip install -c constraints.txt -r pyproject.toml --all-extras"
GB = 1e9


class Finding(NamedTuple):
    """The outcome of a check. `ok` with a cure is advice: it works, and could be better."""

    ok: bool
    detail: str
    cure: str = ""


def versions(constraints: Path = CONSTRAINTS) -> Finding:
    """Python, and every installed package against the version in `constraints`."""
    if not constraints.is_file():
        return Finding(True, f"Python {platform.python_version()}; no constraints.txt to compare with")
    installed: dict[str, str] = {}
    for dist in importlib.metadata.distributions():  # of two, the first is the one that is imported
        installed.setdefault(dist.name.lower().replace("_", "-"), dist.version)
    pinned = dict(_pinned(constraints))
    wrong = [
        f"{name} {installed[name]} instead of {version}"
        for name, version in pinned.items()
        if name in installed and installed[name].split("+")[0] != version.split("+")[0]
    ]
    if wrong:
        return Finding(False, "; ".join(wrong), REPAIR)
    count = sum(name in installed for name in pinned)
    return Finding(True, f"Python {platform.python_version()}, {count} packages at their pinned versions")


def _pinned(constraints: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each line of constraints.txt that applies to this Python; the lines of hashes follow it."""
    for line in constraints.read_text().splitlines():
        text = line.partition("#")[0].strip(" \\")
        if text and not text.startswith("--hash="):
            pin = Requirement(text)
            if pin.marker is None or pin.marker.evaluate():
                yield pin.name.lower().replace("_", "-"), str(pin.specifier).removeprefix("==")


def torch_pair() -> Finding:
    """torch and torchvision of one build: with different ones, torchvision's operators are missing."""
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    try:
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (RuntimeError, ImportError, AttributeError) as error:
        cure = "install both from one index: uv pip install --reinstall -c constraints.txt torch torchvision"
        return Finding(False, f"torch {torch.__version__} ({build}) and its torchvision do not match: {error}", cure)
    return Finding(True, f"torch {torch.__version__} ({build}), torchvision {torchvision.__version__}")


def operator() -> Finding:
    """RoIUpsample: compiled for this torch, and equal to its readable twin."""
    import torch

    from aunet_ops import kernel_status, roi_upsample
    from aunet_ops.reference import roi_upsample as reference

    masks = torch.rand(3, 2, 14, 14, generator=torch.Generator().manual_seed(0))
    rois = torch.tensor([[0, 3.2, 4.1, 40.7, 30.3], [0, -5, 2, 20, 60], [0, 10, 10, 11, 12]], dtype=torch.float32)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    status = [state for state in kernel_status() if state.device in devices]
    for state in status:
        if not state.compiled:
            cure = state.cure or "install a torch with CUDA, then build the operator again"
            return Finding(False, f"{state.device}: not compiled ({state.detail})", cure)
    expected = reference(masks, rois, (1, 48, 64), 0.25)
    for device in devices:
        got = roi_upsample(masks.to(device), rois.to(device), (1, 48, 64), 0.25).cpu()
        error = float((got - expected).abs().max())
        if not error < 1e-4:
            cure = f"{sys.executable} -m aunet_ops.build --force"
            return Finding(False, f"{device}: differs from its readable twin by {error:.2g}", cure)
    return Finding(True, "; ".join(f"{state.device}: {state.detail}" for state in status))


def map_reader() -> Finding:
    """The compiled reader of panoptic PNGs; without it Pillow reads them, ten times slower, with the same results."""
    status = reader_status()
    return Finding(status.compiled, str(status), status.cure or "")


def gpu() -> Finding:
    """GPUs and their driver, as torch sees them."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
        return Finding(True, ", ".join(names) + _driver())
    if driver := _driver():
        cure = "update the driver to one for that CUDA, or install a torch of the driver's CUDA"
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
        return Finding(False, f"there is a GPU{driver}, but torch ({build}) cannot use it", cure)
    return Finding(True, "no GPU; everything runs on the CPU", "train the paper's presets on GPUs; see cluster.yaml")


def _driver() -> str:
    try:
        asked = nvidia_smi("--query-gpu=driver_version", "--format=csv,noheader")
    except Unavailable:
        return ", whose driver does not answer"
    versions = asked.stdout.split() if asked and asked.returncode == 0 else []
    return f", driver {versions[0]}" if versions else ""


DiskUsage = Callable[[Path], Any]
"""As shutil.disk_usage: `total` and `free`, in bytes."""


def disk(disk_usage: DiskUsage = shutil.disk_usage) -> Finding:
    """Space for the store, where it is a folder, and for temporary files."""
    root = storage.store_root()
    folders = [tempfile.gettempdir(), *([] if storage.is_remote(root) else [root])]
    free = {}
    for folder in folders:
        existing = next(path for path in (Path(folder), *Path(folder).parents) if path.exists())
        free[folder] = disk_usage(existing).free / GB
    detail = ", ".join(f"{gb:.0f} GB free in {folder}" for folder, gb in free.items())
    cure = "free some space, or name another AUNET_STORE or TMPDIR"
    return Finding(min(free.values()) >= 2, detail, cure if min(free.values()) < 20 else "")


def shared_memory(disk_usage: DiskUsage = shutil.disk_usage) -> Finding:
    """/dev/shm: Ray's object store and the loaders' batches."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Finding(True, "no /dev/shm; Ray uses the temporary folder, which is slower")
    size = disk_usage(folder).total / GB
    cure = "give the container more: docker run --shm-size=8g, or an emptyDir with medium Memory"
    return Finding(True, f"{size:.1f} GB", cure if size < 2 else "")


def open_files(getrlimit: Callable[[int], tuple[int, int]] = resource.getrlimit) -> Finding:
    """The limit of open files: Ray needs many."""
    soft, hard = getrlimit(resource.RLIMIT_NOFILE)
    return Finding(True, f"{soft} open files allowed", f"ulimit -n {min(hard, 65536)}" if soft < 4096 else "")
