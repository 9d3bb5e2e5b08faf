"""Loads the compiled kernels and reports which kernel serves which device, and why."""

import ctypes
import warnings

import torch

from aunet_ops.build import BUILD_COMMAND, find_library, source_digest
from aunet_ops.status import KernelStatus

_status: dict[str, KernelStatus] = {}
_warned: set[str] = set()


def load_kernels() -> None:
    """Load what was built. Never raises: what cannot be loaded is reported by :func:`kernel_status`."""
    _status["cpu"] = _load("cpu")
    _status["cuda"] = _load("cuda")


def kernel_status() -> list[KernelStatus]:
    """Which kernel serves CPU and CUDA tensors in this process, and why; ``str()`` of an entry is one line."""
    return list(_status.values())


def warn_once_about_composition(device: str) -> None:
    """Called by the composition when it runs: warn once per device, in one line, why it does and what fixes that."""
    status = _status.get(device)
    if status is not None and not status.compiled and device not in _warned:
        _warned.add(device)
        warnings.warn(f"aunet_ops runs slowly on {status}", RuntimeWarning, stacklevel=2)


def _load(kind: str) -> KernelStatus:
    if kind == "cuda" and torch.version.cuda is None:
        return KernelStatus(device=kind, compiled=False, detail="this torch is a CPU build", cure=None)
    path, record = find_library(kind)
    if path is None:
        return KernelStatus(device=kind, compiled=False, detail="not built", cure=BUILD_COMMAND)
    if record.get("digest") != source_digest():
        return KernelStatus(device=kind, compiled=False, detail="built from other sources", cure=BUILD_COMMAND)
    cuda = record.get("CUDA", "")
    if kind == "cuda" and cuda.split(".")[0] != (torch.version.cuda or "").split(".")[0]:
        detail = f"built with CUDA {cuda}, but torch uses CUDA {torch.version.cuda}"
        return KernelStatus(device=kind, compiled=False, detail=detail, cure=f"{BUILD_COMMAND} --force")
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        detail = f"cannot be loaded: {str(error).splitlines()[0]}"
        return KernelStatus(device=kind, compiled=False, detail=detail, cure=f"{BUILD_COMMAND} --force")
    return KernelStatus(device=kind, compiled=True, detail=_describe(kind, str(path), record), cure=None)


def _describe(kind: str, path: str, record: dict[str, str]) -> str:
    built = f"built with torch {record.get('built with torch', '?')}"
    if kind == "cuda":
        return f"{built}, CUDA {record.get('CUDA')}, architectures {record.get('architectures')}"
    isa = ctypes.CDLL(path).aunet_ops_cpu_isa
    isa.restype = ctypes.c_char_p
    return f"{isa().decode()}, {built}"
