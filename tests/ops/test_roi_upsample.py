"""The function and the module on CPU: correctness against three oracles, edges, determinism."""

import pytest
import roi_upsample_oracle as oracle
import torch
from hypothesis import given, settings, strategies as st
from torchvision.ops import roi_align

from aunet_ops import RoIUpsample, reference, roi_upsample

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 6e-4, torch.bfloat16: 5e-3}


def close(got: torch.Tensor, want: torch.Tensor, dtype: torch.dtype = torch.float64) -> None:
    largest = want.detach().abs().max().item() if want.numel() else 0
    torch.testing.assert_close(got.double(), want.double(), rtol=0, atol=TOLERANCE[dtype] * max(1e-30, largest))


def through_torchvision(masks, rois, output_size, scale, aligned):
    """The same map by the backward of roi_align with 2m x 2m bins of one point: the points are the bins' centres."""
    n, h, w = output_size
    m, offset = masks.shape[-1], 0.5 if aligned else 0.0

    def inverse_value(start, length, size):
        x = start[:, None] + (torch.arange(2 * m) + 0.5) * (length / (2 * m))[:, None]
        f = x.clamp(0, size - 1) % 1
        return 1 / (f * f + (1 - f) * (1 - f))

    start = rois[:, 1:3] * scale - offset
    length = rois[:, 3:] * scale - offset - start
    length = length if aligned else length.clamp(min=1)
    points = masks.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
    points = points * inverse_value(start[:, 1], length[:, 1], h)[:, None, :, None]
    points = points * inverse_value(start[:, 0], length[:, 0], w)[:, None, None, :]
    return torch.ops.torchvision._roi_align_backward(
        points, rois, scale, 2 * m, 2 * m, n, masks.shape[1], h, w, 1, aligned
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", oracle.SHAPES, ids=str)
def test_equals_the_slow_loop(shape, dtype):
    k, c, m, n, h, w, low, high = shape
    g = torch.Generator().manual_seed(1)
    rois = oracle.random_rois(k, n, h, w, low, high, 0.25)
    masks = torch.randn(k, c, m, m, dtype=torch.float64, generator=g).to(dtype).requires_grad_()
    grad = torch.randn(n, c, h, w, dtype=torch.float64, generator=g).to(dtype)
    out = roi_upsample(masks, rois, (n, h, w), 0.25)
    out.backward(grad)
    assert out.dtype == dtype and masks.grad is not None and masks.grad.dtype == dtype
    close(out, oracle.forward(masks, rois, (n, h, w), 0.25), dtype)
    close(masks.grad, oracle.backward(grad, rois, m, 0.25), dtype)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("m", "low", "high"), [(14, 2, 30), (28, 10, 60), (28, 14, 28), (14, 0.1, 2), (7, 100, 900)])
def test_equals_roi_aligns_backward(m, low, high, aligned):
    rois = oracle.random_rois(60, 3, 50, 70, low, high, 0.25)
    masks = torch.randn(60, 4, m, m, dtype=torch.float64)
    close(
        roi_upsample(masks, rois, (3, 50, 70), 0.25, aligned=aligned),
        through_torchvision(masks, rois, (3, 50, 70), 0.25, aligned),
    )


coordinate = st.floats(-80, 200, width=32) | st.sampled_from([0.0, -4.0, 2.0, 64.0, 1e9, -1e9, 1e30])


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_equals_the_reference_over_the_input_space(data):
    k, c, n = (data.draw(st.integers(0, 5)) for _ in range(3))
    m, h, w = (data.draw(st.integers(1, top)) for top in (36, 40, 40))
    n = n + 1
    box = st.tuples(st.integers(-1, n - 1), coordinate, coordinate, coordinate, coordinate)
    rois = torch.tensor(data.draw(st.lists(box, min_size=k, max_size=k)), dtype=torch.float32).reshape(k, 5)
    ratio, aligned = data.draw(st.integers(1, 4)), data.draw(st.booleans())
    scale = data.draw(st.sampled_from([0.25, 1.0, 0.03125, 0.3]))
    g = torch.Generator().manual_seed(0)
    for dtype in (torch.float64, torch.float32):
        masks = torch.randn(k, c, m, m, dtype=dtype, generator=g).requires_grad_()
        grad = torch.randn(n, c, h, w, dtype=dtype, generator=g)
        out = roi_upsample(masks, rois, (n, h, w), scale, ratio, aligned)
        close(out, reference.roi_upsample(masks.double(), rois, (n, h, w), scale, ratio, aligned), dtype)
        (got,) = torch.autograd.grad(out, masks, grad)
        close(got, reference.splat_adjoint(grad.double(), rois, m, scale, ratio, aligned), dtype)


@pytest.mark.parametrize("m", [14, 28])
def test_reverts_exactly_when_points_are_two_pixels_apart(m):
    side = 4.0 * m + torch.rand(6, 2, dtype=torch.float64) * 9
    corner = torch.rand(6, 2, dtype=torch.float64) * 20 + 1
    rois = torch.cat([torch.arange(6.0)[:, None].double(), corner, corner + side], 1)
    masks = torch.randn(6, 2, m, m, dtype=torch.float64)
    out = roi_upsample(masks, rois, (6, 160, 160), 1.0)
    assert ((4 * roi_align(out, rois, (m, m), 1.0, 2, aligned=True)) - masks).abs().max() < 1e-13


def test_does_not_revert_at_the_levels_fpn_assigns():
    for side, wrong_by in ((55.0, 1e-6), (28.0, 0.3), (14.0, 1.0)):  # spacing 1.96, 1 and 0.5 at m = 14
        rois = torch.tensor([[0, 10.3, 9.8, 10.3 + side, 9.8 + side]], dtype=torch.float64)
        masks = torch.randn(1, 1, 14, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        read = 4 * roi_align(roi_upsample(masks, rois, (1, 90, 90), 1.0), rois, (14, 14), 1.0, 2, aligned=True)
        assert (read - masks).abs().max() > wrong_by


def test_a_constant_mask_is_written_as_other_values_unless_normalized():
    for m, side, low, high in ((28, 14.2, 9, 10.5), (28, 28, 2, 3), (14, 28, 0.4, 0.8), (14, 14, 2, 3)):
        rois = torch.tensor([[0, 10.3, 9.8, 10.3 + side, 9.8 + side]], dtype=torch.float64)
        ones = torch.full((1, 1, m, m), 3.0, dtype=torch.float64)
        middle = (slice(None), slice(None), slice(14, 20), slice(14, 20))
        assert low < roi_upsample(ones, rois, (1, 60, 60), 1.0)[middle].mean() / 3 < high
        covered = roi_upsample(ones, rois, (1, 60, 60), 1.0, normalize="coverage")
        assert torch.allclose(covered[covered != 0], torch.tensor(3.0, dtype=torch.float64))
        assert torch.equal(covered != 0, roi_upsample(ones, rois, (1, 60, 60), 1.0) != 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_coverage_equals_the_reference_and_stays_in_range(dtype):
    rois = oracle.random_rois(40, 2, 30, 40, 3, 20, 0.25)
    masks = torch.rand(40, 2, 14, 14).to(dtype)
    out = roi_upsample(masks, rois, (2, 30, 40), 0.25, normalize="coverage")
    close(out, reference.roi_upsample(masks, rois, (2, 30, 40), 0.25, normalize="coverage"), dtype)
    assert out.dtype == dtype and out.min() >= 0 and out.max() <= 1.001


def test_rois_that_contribute_nothing():
    nan, inf = float("nan"), float("inf")
    good = [0.0, 4, 4, 20, 24]
    bad = [[-1.0, 4, 4, 20, 24], [-7.0, 0, 0, 9, 9], [nan, 0, 0, 9, 9], [0.0, nan, 4, 9, 9], [0.0, 4, 4, inf, 9]]
    bad += [[0.0, -inf, 4, 9, 9], [0.0, 9, 4, 9, 20], [0.0, 20, 4, 9, 20], [0.0, 900, 900, 990, 990]]
    bad += [[0.0, -90, 0, -50, 9]]
    rois = torch.tensor([bad[0], good, *bad[1:]])
    masks = torch.randn(len(rois), 2, 7, 7)
    masks[0] = nan
    masks.requires_grad_()
    out = roi_upsample(masks, rois, (1, 12, 10), 0.25)
    assert torch.equal(out, roi_upsample(masks[1:2], rois[1:2], (1, 12, 10), 0.25))
    (grad,) = torch.autograd.grad(out.sum(), masks)
    assert grad[1].abs().min() > 0 and not grad[0].any() and not grad[2:].any()


def test_without_alignment_small_rois_are_one_cell():
    rois = torch.tensor([[0.0, 8, 8, 8, 4], [0.0, 8, 8, 12, 12]])
    masks = torch.randn(1, 1, 3, 3).expand(2, -1, -1, -1)
    one, other = (roi_upsample(masks[i : i + 1], rois[i : i + 1], (1, 6, 6), 0.25, aligned=False) for i in (0, 1))
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("k", "c", "n", "h", "w"),
    [(0, 2, 1, 4, 5), (3, 0, 1, 4, 5), (3, 2, 1, 0, 5), (3, 2, 1, 4, 0), (0, 0, 0, 0, 0), (3, 2, 0, 4, 5)],
)
def test_empty_sizes(k, c, n, h, w):
    rois = torch.zeros(k, 5)
    rois[:, 0] = -1
    masks = torch.randn(k, c, 3, 3, requires_grad=True)
    for normalize in (None, "coverage"):
        out = roi_upsample(masks, rois, (n, h, w), 0.25, normalize=normalize)
        assert out.shape == (n, c, h, w) and not out.any()
    (grad,) = torch.autograd.grad(out.sum(), masks)
    assert grad.shape == masks.shape and not grad.any()


def test_image_index_out_of_range_names_the_roi():
    rois = torch.tensor([[0.0, 0, 0, 9, 9], [2.0, 0, 0, 9, 9]])
    for run in (roi_upsample, reference.roi_upsample):
        with pytest.raises(RuntimeError, match=r"rois\[1\] has image index 2, expected below N = 2"):
            run(torch.ones(2, 1, 3, 3), rois, (2, 8, 8), 1.0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"masks": torch.ones(2, 1, 3, 4)}, ValueError, r"masks must have shape \[K, C, m, m\], got \[2, 1, 3, 4\]"),
        ({"masks": torch.ones(2, 3, 3)}, ValueError, r"got \[2, 3, 3\]"),
        ({"rois": torch.ones(2, 4)}, ValueError, r"rois must have shape \[K, 5\], got \[2, 4\]"),
        ({"rois": torch.ones(3, 5)}, ValueError, "agree on K, got 2 and 3"),
        ({"rois": torch.ones(2, 5).bfloat16()}, TypeError, "rois must be float32 or float64"),
        ({"masks": torch.ones(2, 1, 3, 3, dtype=torch.int32)}, TypeError, "masks must be"),
        ({"output_size": (8, 8)}, ValueError, r"output_size must be \(N, H, W\), got \(8, 8\)"),
        ({"output_size": (1, -8, 8)}, ValueError, "must not be negative"),
        ({"sampling_ratio": 0}, ValueError, "sampling_ratio must be at least 1, got 0"),
        ({"normalize": "max"}, ValueError, "normalize must be None"),
    ],
)
def test_rejects_with_expected_and_got(change, error, message):
    arguments = {"masks": torch.ones(2, 1, 3, 3), "rois": torch.ones(2, 5), "output_size": (1, 8, 8)} | change
    with pytest.raises(error, match=message):
        roi_upsample(**arguments, spatial_scale=1.0)


def test_nan_stays_inside_its_roi():
    masks = torch.ones(2, 1, 28, 28)
    masks[0, 0, 3, 3] = float("nan")
    rois = torch.tensor([[0.0, 8, 8, 72, 88], [0.0, 120, 20, 190, 90]])
    broken = roi_upsample(masks, rois, (1, 30, 60), 0.25).isnan()
    touched = roi_upsample(torch.ones_like(masks[:1]), rois[:1], (1, 30, 60), 0.25) != 0
    assert broken.any() and not (broken & ~touched).any()


def test_non_contiguous_inputs():
    masks = torch.randn(14, 2, 14, 6).permute(3, 1, 2, 0)
    rois = oracle.random_rois(6, 2, 20, 30, 2, 20, 0.25).float()
    wide = torch.zeros(6, 10)
    wide[:, ::2] = rois
    want = roi_upsample(masks.contiguous(), rois, (2, 20, 30), 0.25)
    assert torch.equal(roi_upsample(masks, wide[:, ::2], (2, 20, 30), 0.25), want)


def test_module():
    rois = oracle.random_rois(6, 2, 20, 30, 2, 20, 0.25)
    masks = torch.randn(6, 2, 14, 14)
    module = RoIUpsample(0.25, sampling_ratio=3, aligned=False, normalize="coverage")
    want = roi_upsample(masks, rois, (2, 20, 30), 0.25, 3, False, "coverage")
    assert torch.equal(module(masks, rois, (2, 20, 30)), want)
    assert repr(module) == "RoIUpsample(spatial_scale=0.25, sampling_ratio=3, aligned=False, normalize='coverage')"


def forward_and_backward(masks, rois, size):
    leaf = masks.clone().requires_grad_()
    out = roi_upsample(leaf, rois, size, 0.25)
    (grad,) = torch.autograd.grad(out, leaf, torch.cos(out.detach()))
    return out.detach(), grad


@pytest.mark.parametrize("channels", [1, 3, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_same_bits_for_any_number_of_threads(channels, dtype):
    rois = oracle.random_rois(80, 2, 60, 70, 5, 30, 0.25)
    masks = torch.randn(80, channels, 14, 14).to(dtype)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 4, 3, 1):
            torch.set_num_threads(count)
            results.append(forward_and_backward(masks, rois, (2, 60, 70)))
    finally:
        torch.set_num_threads(threads)
    for out, grad in results[1:]:
        assert torch.equal(out, results[0][0]) and torch.equal(grad, results[0][1])


def test_outputs_are_fully_written(monkeypatch):
    rois = oracle.random_rois(20, 2, 40, 50, 5, 30, 0.25)
    rois[3, 0] = -1
    masks = torch.randn(20, 3, 14, 14)
    want = forward_and_backward(masks, rois, (2, 40, 50))
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    mode = torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(True)  # fills fresh memory with NaN
        poisoned = [torch.full((20, 3, 60, 60), float("nan")) for _ in range(4)]
        del poisoned  # the allocator hands these pages out again
        got = forward_and_backward(masks, rois, (2, 40, 50))
    finally:
        torch.use_deterministic_algorithms(mode)
    assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])


@pytest.mark.slow
def test_more_than_2_to_the_31_elements():
    size, channels = (1, 1024, 1100), 1910
    masks = torch.randn(2, channels, 4, 4).half()
    rois = torch.tensor([[0.0, 30, 40, 90, 100], [0.0, 1000, 950, 1090, 1010]])
    out = roi_upsample(masks, rois, size, 1.0)
    assert out.numel() > 2**31
    for c in (0, channels // 2, channels - 1):
        assert torch.equal(out[:, c], roi_upsample(masks[:, c : c + 1], rois, size, 1.0)[:, 0])
    back = torch.ops.aunet.roi_upsample_backward(out, rois, 4, 1.0)
    assert torch.equal(back[:, -1:], torch.ops.aunet.roi_upsample_backward(out[:, -1:].clone(), rois, 4, 1.0))
