"""The CPU kernel of machines with less than AVX-512."""

import os
import subprocess
import sys

import pytest

CHECK_ONE_ISA = """
import torch, roi_upsample_oracle as oracle
from aunet_ops import reference, kernel_status
print(kernel_status()[0].detail.split(",")[0])
for k, c, m, n, h, w, low, high in oracle.SHAPES:
    rois = oracle.random_rois(k, n, h, w, low, high, 0.25)
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-6), ("float16", 6e-4), ("bfloat16", 5e-3)):
        dtype = getattr(torch, dtype)
        masks, grad = torch.randn(k, c, m, m).to(dtype), torch.randn(n, c, h, w).to(dtype)
        out = torch.ops.aunet.roi_upsample(masks, rois, [n, h, w], 0.25)
        back = torch.ops.aunet.roi_upsample_backward(grad, rois, m, 0.25)
        for got, want in ((out, reference.splat(masks.double(), rois, (n, h, w), 0.25, 2, True)),
                          (back, reference.splat_adjoint(grad.double(), rois, m, 0.25, 2, True))):
            assert (got.double() - want).abs().max() <= tolerance * want.abs().max(), (k, c, m, dtype)
"""


@pytest.mark.parametrize("isa", ["baseline", "avx2"])
def test_the_other_instruction_sets(isa):
    environment = os.environ | {"AUNET_OPS_ISA": isa, "PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run([sys.executable, "-c", CHECK_ONE_ISA], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() != isa:
        pytest.skip(f"this machine runs {done.stdout.strip()!r} instead of {isa}")
