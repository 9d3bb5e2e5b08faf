"""On a GPU: the CPU tests' claims again. Skips itself where there is none."""

import pytest
import roi_upsample_oracle as oracle
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

from aunet_ops import kernel_status, reference, roi_upsample

pytestmark = pytest.mark.gpu

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 6e-4, torch.bfloat16: 5e-3}
BENCHMARK = (512, 80, 28, 1, 200, 304, 14.0, 28.0)


def test_the_compiled_kernel_serves():
    assert kernel_status()[1].compiled, str(kernel_status()[1])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", [*oracle.SHAPES, (300, 9, 14, 3, 50, 70, 0.5, 60.0)], ids=str)
@pytest.mark.parametrize(("ratio", "aligned"), [(2, True), (3, False)])
def test_equals_the_reference(shape, dtype, ratio, aligned):
    k, c, m, n, h, w, low, high = shape
    rois = oracle.random_rois(k, n, h, w, low, high, 0.25)
    rois[0, 0] = -1 if k > 2 else 0
    masks, grad = torch.randn(k, c, m, m).to(dtype), torch.randn(n, c, h, w).to(dtype)
    out = torch.ops.aunet.roi_upsample(masks.cuda(), rois.cuda(), [n, h, w], 0.25, ratio, aligned).cpu()
    back = torch.ops.aunet.roi_upsample_backward(grad.cuda(), rois.cuda(), m, 0.25, ratio, aligned).cpu()
    want = reference.splat(masks.double(), rois, (n, h, w), 0.25, ratio, aligned)
    torch.testing.assert_close(out.double(), want, rtol=0, atol=TOLERANCE[dtype] * want.abs().max().item())
    want = reference.splat_adjoint(grad.double(), rois, m, 0.25, ratio, aligned)
    torch.testing.assert_close(back.double(), want, rtol=0, atol=TOLERANCE[dtype] * want.abs().max().item())


def test_deterministic_and_fully_written():
    k, c, m, n, h, w, low, high = BENCHMARK
    rois, masks = oracle.random_rois(k, n, h, w, low, high, 0.25).cuda(), torch.randn(k, c, m, m, device="cuda")
    torch.use_deterministic_algorithms(True)  # also fills fresh memory with NaN
    try:
        first = roi_upsample(masks, rois, (n, h, w), 0.25)
        back = torch.ops.aunet.roi_upsample_backward(first, rois, m, 0.25)
        for _ in range(5):
            assert torch.equal(roi_upsample(masks, rois, (n, h, w), 0.25), first)
            assert torch.equal(torch.ops.aunet.roi_upsample_backward(first, rois, m, 0.25), back)
    finally:
        torch.use_deterministic_algorithms(False)
    assert not first.isnan().any() and not back.isnan().any()


def test_image_index_out_of_range_is_skipped():
    rois = torch.tensor([[0.0, 4, 4, 20, 24], [1, 4, 4, 20, 24], [1e9, 4, 4, 20, 24]], device="cuda")
    masks = torch.randn(3, 2, 7, 7, device="cuda")
    want = roi_upsample(masks[:1], rois[:1], (1, 12, 10), 0.25)
    assert torch.equal(roi_upsample(masks, rois, (1, 12, 10), 0.25), want)


def test_registration():
    rois = oracle.random_rois(4, 2, 9, 11, 2, 9, 0.25).cuda()
    masks = torch.randn(4, 2, 5, 5, dtype=torch.float64, device="cuda", requires_grad=True)
    opcheck(torch.ops.aunet.roi_upsample.default, (masks, rois, [2, 9, 11], 0.25))
    assert gradcheck(lambda x: roi_upsample(x, rois, (2, 9, 11), 0.25), (masks,))
    assert gradgradcheck(lambda x: roi_upsample(x, rois, (2, 9, 11), 0.25), (masks,))


def test_captures_in_a_graph():
    rois, masks = oracle.random_rois(20, 1, 30, 40, 5, 20, 0.25).cuda(), torch.randn(20, 4, 14, 14, device="cuda")
    want = roi_upsample(masks, rois, (1, 30, 40), 0.25)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = roi_upsample(masks, rois, (1, 30, 40), 0.25)
    graph.replay()
    assert torch.equal(got, want)
