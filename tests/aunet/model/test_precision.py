"""Which number format a device computes in."""

from __future__ import annotations

import pytest
import torch

from aunet.model.precision import autocast_dtype

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("is_native", "expected"), [(True, torch.bfloat16), (False, None)])
def test_auto_is_bf16_only_where_the_hardware_has_it(
    monkeypatch: pytest.MonkeyPatch, is_native: bool, expected: torch.dtype | None
) -> None:
    """torch says of a T4, too, that bf16 is supported: it emulates it."""
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or is_native
    )
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: is_native)
    assert [autocast_dtype("auto", device) for device in (GPU, CPU)] == [expected, expected]


def test_what_is_asked_for() -> None:
    formats = {name: autocast_dtype(name, CPU) for name in ("fp32", "fp16", "bf16")}
    assert formats == {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}
