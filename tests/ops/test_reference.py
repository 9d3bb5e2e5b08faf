"""The readable twin against the slow loop, and what it promises beyond."""

import pytest
import roi_upsample_oracle as oracle
import torch

from aunet_ops import reference


@pytest.mark.parametrize("shape", oracle.SHAPES, ids=str)
@pytest.mark.parametrize(("ratio", "aligned"), [(2, True), (2, False), (1, True), (3, False)])
def test_equals_the_slow_loop(shape, ratio, aligned):
    k, c, m, n, h, w, low, high = shape
    rois = oracle.random_rois(k, n, h, w, low, high, 0.25)
    masks = torch.randn(k, c, m, m, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    want = oracle.forward(masks, rois, (n, h, w), 0.25, ratio, aligned)
    got = reference.roi_upsample(masks, rois, (n, h, w), 0.25, ratio, aligned)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12 * max(1, want.abs().max().item()))


def test_one_point_by_hand():
    # One bin, one grid point at x = 1.25, y = 2.5: value_x = 0.625, value_y = 0.5.
    masks = torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64)
    rois = torch.tensor([[0.0, 1.25, 2.5, 2.25, 3.5]])  # centre (1.75, 3.0), less the half pixel
    out = reference.roi_upsample(masks, rois, (1, 5, 4), 1.0, sampling_ratio=1)
    want = torch.zeros(5, 4, dtype=torch.float64)
    want[2:4, 1:3] = 2 * torch.tensor([[0.75 * 0.5, 0.25 * 0.5], [0.75 * 0.5, 0.25 * 0.5]]) / (0.625 * 0.5)
    torch.testing.assert_close(out[0, 0], want)


def test_adjoint_is_the_gradient():
    rois = oracle.random_rois(5, 2, 20, 30, 2, 20, 0.25)
    masks = torch.randn(5, 3, 7, 7, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(2, 3, 20, 30, dtype=torch.float64)
    reference.roi_upsample(masks, rois, (2, 20, 30), 0.25).backward(grad)
    assert masks.grad is not None
    torch.testing.assert_close(reference.splat_adjoint(grad, rois, 7, 0.25, 2, True), masks.grad)
    torch.testing.assert_close(oracle.backward(grad, rois, 7, 0.25), masks.grad)


def test_chunks_change_nothing(monkeypatch):
    rois = oracle.random_rois(9, 2, 20, 30, 2, 20, 0.25)
    masks = torch.randn(9, 2, 7, 7, dtype=torch.float64)
    at_once = reference.roi_upsample(masks, rois, (2, 20, 30), 0.25)
    grad = reference.splat_adjoint(at_once, rois, 7, 0.25, 2, True)
    monkeypatch.setattr(reference, "_CHUNK_ELEMENTS", 3000)
    torch.testing.assert_close(reference.roi_upsample(masks, rois, (2, 20, 30), 0.25), at_once)
    torch.testing.assert_close(reference.splat_adjoint(at_once, rois, 7, 0.25, 2, True), grad)


def test_normalize_rejects_other_words():
    with pytest.raises(ValueError, match='None or "coverage"'):
        reference.roi_upsample(torch.ones(1, 1, 2, 2), torch.zeros(1, 5), (1, 4, 4), 1.0, normalize="mean")
