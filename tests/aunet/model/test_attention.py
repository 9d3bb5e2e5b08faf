"""PAM, MAM and the reweight against Eq. 1–6 written out in numpy, in float64, point by point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from aunet.model.attention import AttentionForm, BackgroundReweight, MaskAttention, ProposalAttention


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def conv1x1(x: np.ndarray, conv: torch.nn.Conv2d) -> np.ndarray:
    assert conv.bias is not None
    weight = conv.weight.detach().numpy()[:, :, 0, 0]
    return np.einsum("oc,nchw->nohw", weight, x) + conv.bias.detach().numpy()[None, :, None, None]


def reweighted(x: np.ndarray, module: BackgroundReweight) -> np.ndarray:
    """Eq. 3–4."""
    hidden = conv1x1(x.mean(axis=(2, 3), keepdims=True), module.conv)
    n, c = hidden.shape[:2]
    groups = hidden.reshape(n, module.norm.num_groups, -1)
    normal = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + module.norm.eps)
    scale, shift = (p.detach().numpy()[None, :, None, None] for p in (module.norm.weight, module.norm.bias))
    return x * sigmoid(normal.reshape(n, c, 1, 1) * scale + shift)


def attended(s: np.ndarray, p: np.ndarray, module: ProposalAttention | MaskAttention) -> np.ndarray:
    """Eq. 1–2."""
    m = conv1x1(np.maximum(conv1x1(p, module.squeeze), 0), module.score)
    return s * (1 - sigmoid(m)) + s


def randomise(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("reweight", [True, False])
def test_proposal_attention_is_equations_1_to_4(reweight: bool) -> None:
    module = ProposalAttention(6, 16, AttentionForm(5, reweight=reweight)).double()
    randomise(module)
    rng = np.random.default_rng(0)
    s, p = rng.normal(size=(2, 16, 7, 9)), rng.normal(size=(2, 6, 7, 9))
    expected = attended(s, p, module)
    if reweight:
        assert isinstance(module.reweight, BackgroundReweight)
        expected = reweighted(expected, module.reweight)
    result, weights = module(torch.from_numpy(s), torch.from_numpy(p))
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=0, atol=1e-5)
    assert weights.shape == (2, 1, 7, 9)


def written(mask: np.ndarray, roi: np.ndarray, stride: int, height: int, width: int) -> np.ndarray:
    """Eq. 5–6: each point of a bin writes a quarter of it on its four neighbours; [C, m, m] → [C, H, W]."""
    m, out = mask.shape[-1], np.zeros((mask.shape[0], height, width))
    x1, y1, x2, y2 = roi / stride - 0.5  # the centre of the first pixel is 0
    for row, column in np.ndindex(2 * m, 2 * m):
        x = x1 + (column + 0.5) * (x2 - x1) / (2 * m)
        y = y1 + (row + 0.5) * (y2 - y1) / (2 * m)
        if not (-1 <= x <= width and -1 <= y <= height):
            continue
        x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
        left, top = int(x), int(y)
        x_p, y_p = x - left, y - top
        value = (x_p**2 + (1 - x_p) ** 2) * (y_p**2 + (1 - y_p) ** 2)  # Eq. 6
        quarter = mask[:, row // 2, column // 2] / 4
        for x_n, x_weight in ((left, 1 - x_p), (min(left + 1, width - 1), x_p)):
            for y_n, y_weight in ((top, 1 - y_p), (min(top + 1, height - 1), y_p)):
                out[:, y_n, x_n] += x_weight * y_weight / value * quarter  # Eq. 5
    return out


def upsampled(maps: np.ndarray, factor: int) -> np.ndarray:
    """Bilinear, pixel areas aligned, of the last two axes."""
    for axis in (-2, -1):
        size = maps.shape[axis]
        position = ((np.arange(size * factor) + 0.5) / factor - 0.5).clip(0, size - 1)
        low = position.astype(int)
        share = (position - low).reshape((-1, 1) if axis == -2 else (-1,))
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, (low + 1).clip(max=size - 1), axis) * share
    return maps


@pytest.mark.parametrize("m", [14, 28])
@pytest.mark.parametrize(("coverage", "reweight"), [(True, True), (False, True), (False, False)])
def test_mask_attention_is_equations_1_to_6(m: int, coverage: bool, reweight: bool) -> None:
    module = MaskAttention(4, 16, AttentionForm(5, reweight=reweight), coverage=coverage).double()
    randomise(module)
    rng = np.random.default_rng(0)
    s, masks = rng.normal(size=(2, 16, 32, 48)), rng.normal(size=(4, 4, m, m))
    rois = np.array([[0, 3, 5, 60, 70], [1, 10.5, 4, 180, 120], [1, 0, 0, 40, 44], [0, -5, 90, 100, 127]])
    maps, cover = np.zeros((2, 4, 32, 48)), np.zeros((2, 1, 32, 48))
    for (image, *roi), mask in zip(rois, masks, strict=True):
        side = np.sqrt((roi[2] - roi[0]) * (roi[3] - roi[1]))
        stride = 2 ** int(np.clip(np.floor(4 + np.log2(side / 224)), 2, 5))  # the FPN's rule
        for target, source in ((maps, mask), (cover, np.ones((1, m, m)))):
            target[int(image)] += upsampled(
                written(source, np.array(roi), stride, 128 // stride, 192 // stride), stride // 4
            )
    if coverage:
        maps = maps / np.maximum(cover, 1e-3)
    expected = attended(s, maps, module)
    if reweight:
        assert isinstance(module.reweight, BackgroundReweight)
        expected = reweighted(expected, module.reweight)
    result, weights = module(*map(torch.from_numpy, (s, masks, rois)))
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=0, atol=1e-5)
    assert weights.shape == (2, 1, 32, 48)


@pytest.mark.parametrize("kind", [ProposalAttention, MaskAttention])
def test_unguided_every_weight_is_1_and_the_foreground_is_not_looked_at(kind: Any) -> None:
    more: dict[str, Any] = {"coverage": True} if kind is MaskAttention else {}
    module: Any = kind(4, 16, AttentionForm(5, reweight=True), **more).double()
    randomise(module)
    semantic = np.random.default_rng(0).normal(size=(2, 16, 8, 8))
    nothing = torch.full((3, 4, 8, 8), torch.nan, dtype=torch.float64)
    inputs = (nothing, torch.zeros(3, 5)) if kind is MaskAttention else (nothing[:2],)
    result, weights = module(torch.from_numpy(semantic), *inputs, guided=False)
    np.testing.assert_allclose(result.detach().numpy(), reweighted(2 * semantic, module.reweight), rtol=0, atol=1e-9)
    assert weights.shape == (2, 1, 8, 8) and bool((weights == 1).all())


def test_attention_starts_as_a_plain_factor() -> None:
    module = ProposalAttention(6, 16, AttentionForm(5))
    _, weights = module(torch.randn(1, 16, 8, 8), torch.randn(1, 6, 8, 8))
    assert (weights - 0.5).abs().max() < 0.1


def test_mask_attention_without_rois() -> None:
    module = MaskAttention(4, 16, AttentionForm(5, reweight=True), coverage=True)
    semantic = torch.randn(2, 16, 8, 8)
    result, weights = module(semantic, torch.zeros(0, 4, 28, 28), torch.zeros(0, 5))
    assert result.shape == semantic.shape
    torch.testing.assert_close(weights, torch.full_like(weights, 0.5), atol=0.05, rtol=0)
