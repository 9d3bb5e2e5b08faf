"""What NVIDIA's own program says of this machine, with or without a torch that can use its GPUs."""

from __future__ import annotations

import shutil
import subprocess

from aunet.errors import Unavailable

PROGRAM = "nvidia-smi"
SECONDS = 20
"""After which a driver hangs."""


def nvidia_smi(*options: str) -> subprocess.CompletedProcess[str] | None:
    """What it prints, and whether it failed; None: there is no such program.

    Raises:
        Unavailable: it does not answer.
    """
    if shutil.which(PROGRAM) is None:
        return None
    command = [PROGRAM, *options]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"`{' '.join(command)}` has not answered for {SECONDS} s: a GPU or its driver hangs; restart the machine, "
            "or set CUDA_VISIBLE_DEVICES to the GPUs that work ('' for none)"
        ) from None
