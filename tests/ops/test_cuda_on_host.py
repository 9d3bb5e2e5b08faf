"""The arithmetic of the CUDA kernels, tested without a GPU: their device functions compiled for the CPU."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import roi_upsample_oracle as oracle
import torch

from aunet_ops import reference
from aunet_ops.build import source_root

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def run_on_host(tmp_path_factory):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to compile the device functions with")
    library = tmp_path_factory.mktemp("cuda_on_host") / "cuda_on_host.so"
    flags = ["-std=c++20", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-ffp-contract=off"]
    command = [compiler, *flags, f"-I{source_root()}", str(HERE / "cuda_on_host.cpp"), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    function = ctypes.CDLL(str(library)).run_on_host
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    function.argtypes = [integer] * 4 + [ctypes.c_int64] + [integer] * 4 + [ctypes.c_double] + [integer] * 2
    function.argtypes += [pointer] * 3

    def run(values, rois, m, size, scale, ratio=2, aligned=True, backward=False):
        n, h, w = size
        k, c = len(rois), values.shape[1]
        out = values.new_full((k, c, m, m) if backward else (n, c, h, w), float("nan"))
        single, at_once = values.dtype == torch.float32, 1 if c == 1 else 4
        wide = rois.double().contiguous()
        arguments = (single, backward, at_once, k, c, m, n, h, w, scale, ratio, aligned)
        status = function(*arguments, wide.data_ptr(), values.contiguous().data_ptr(), out.data_ptr())
        assert status == 0, "a table outgrew its workspace"
        return out

    return run


def check(run, k, c, m, n, h, w, low, high, ratio=2, aligned=True, dtype=torch.float64, rois=None):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    rois = oracle.random_rois(k, n, h, w, low, high, 0.25) if rois is None else rois
    masks, grad = torch.randn(k, c, m, m, dtype=dtype), torch.randn(n, c, h, w, dtype=dtype)
    got = run(masks, rois, m, (n, h, w), 0.25, ratio, aligned)
    want = reference.splat(masks.double(), rois, (n, h, w), 0.25, ratio, aligned)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=tolerance * want.abs().max().item() + 1e-30)
    got = run(grad, rois, m, (n, h, w), 0.25, ratio, aligned, backward=True)
    want = reference.splat_adjoint(grad.double(), rois, m, 0.25, ratio, aligned)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=tolerance * want.abs().max().item() + 1e-30)


@pytest.mark.parametrize("shape", oracle.SHAPES, ids=str)
@pytest.mark.parametrize(("ratio", "aligned"), [(2, True), (1, False), (3, True)])
def test_equals_the_reference(run_on_host, shape, ratio, aligned):
    check(run_on_host, *shape, ratio=ratio, aligned=aligned)


def test_single_precision(run_on_host):
    check(run_on_host, 5, 3, 28, 1, 30, 40, 14, 28, dtype=torch.float32)


def test_many_rois(run_on_host):
    check(run_on_host, 70, 1, 4, 2, 20, 40, 2, 12)


def test_rois_that_contribute_nothing(run_on_host):
    nan, inf = float("nan"), float("inf")
    rois = torch.tensor([[-1.0, 4, 4, 20, 24], [0.0, 4, 4, 20, 24], [nan, 0, 0, 9, 9], [0.0, nan, 4, 9, 9]])
    rois = torch.cat([rois, torch.tensor([[0.0, 4, 4, inf, 9], [0.0, 9, 4, 9, 20], [0.0, 900, 900, 990, 990]])])
    check(run_on_host, len(rois), 2, 7, 1, 12, 10, 0, 0, rois=rois)
    check(run_on_host, len(rois), 2, 7, 1, 12, 10, 0, 0, rois=rois, aligned=False)


def test_image_index_out_of_range_is_skipped(run_on_host):
    rois = torch.tensor([[0.0, 4, 4, 20, 24], [1.0, 4, 4, 20, 24], [1e9, 4, 4, 20, 24]])
    masks = torch.randn(3, 2, 7, 7, dtype=torch.float64)
    want = reference.splat(masks[:1], rois[:1], (1, 12, 10), 0.25, 2, True)
    torch.testing.assert_close(run_on_host(masks, rois, 7, (1, 12, 10), 0.25), want)


def test_nan_stays_inside_its_roi(run_on_host):
    masks = torch.ones(2, 1, 28, 28)
    masks[0, 0, 3, 3] = float("nan")
    rois = torch.tensor([[0.0, 8, 8, 72, 88], [0.0, 120, 20, 190, 90]])
    broken = run_on_host(masks, rois, 28, (1, 30, 60), 0.25).isnan()
    touched = run_on_host(torch.ones_like(masks[:1]), rois[:1], 28, (1, 30, 60), 0.25) != 0
    assert broken.any() and not (broken & ~touched).any()
