"""Number formats inside the network."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """16-bit numbers, as autocast computes them, as float32; float32 and float64 unchanged."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def format_name(dtype: torch.dtype | None) -> str:
    """What `train.precision` calls what `autocast_dtype` gives."""
    return "fp32" if dtype is None else {torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The number format of autocast, or None for float32. `auto`: bf16 where the hardware computes in it.

    A GPU before Ampere, such as T4, only emulates it, without its tensor cores.
    """
    if precision == "fp32":
        return None
    if precision != "auto":
        return {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    if device.type == "cuda":
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_native = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if is_native else None
