"""What GPUs can do, by the names under which their drivers report them."""

from __future__ import annotations

from typing import NamedTuple


class Gpu(NamedTuple):
    """One model of GPU."""

    flops: float
    """Dense floating-point operations per second of its tensor cores in bf16, in fp16 where it has no bf16."""
    memory_gb: float


GPUS = {
    "V100-SXM2-16GB": Gpu(125e12, 16),
    "V100-SXM2-32GB": Gpu(125e12, 32),
    "T4": Gpu(65e12, 16),
    "A10G": Gpu(70e12, 24),
    "A100-SXM4-40GB": Gpu(312e12, 40),
    "A100-SXM4-80GB": Gpu(312e12, 80),
    "L4": Gpu(121e12, 24),
    "L40S": Gpu(362e12, 48),
    "H100 PCIe": Gpu(756e12, 80),
    "H100 80GB HBM3": Gpu(989e12, 80),
    "H200": Gpu(989e12, 141),
    "B200": Gpu(2250e12, 180),
}
"""Without sparsity. Written down from memory of NVIDIA's data sheets and AWS's description of its G5 machines (A10G),
and not compared with them since."""

GPUS_PER_MACHINE = 8
UTILISATION = 0.2
"""Share of the peak that a training uses where none was measured; assumed."""


def gpu_called(name: str) -> Gpu | None:
    """The GPU whose driver says `name`, such as `NVIDIA A100-SXM4-40GB`; None: not one of `GPUS`."""
    return GPUS.get(name.removeprefix("NVIDIA ").removeprefix("Tesla "))
