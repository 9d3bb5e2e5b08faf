"""PAM, MAM and the reweight against Eq. 1–6 written out in numpy, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aunet.model.attention import BackgroundReweight, MaskAttention, ProposalAttention
from aunet_ops import assign_levels
from aunet_ops.reference import roi_upsample


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def conv1x1(x: np.ndarray, conv: torch.nn.Conv2d) -> np.ndarray:
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
    module = ProposalAttention(6, 5, 16, reweight=reweight).double()
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


@pytest.mark.parametrize("coverage", [True, False])
def test_mask_attention_is_equations_1_to_6(coverage: bool) -> None:
    module = MaskAttention(4, 5, 16, reweight=True, coverage=coverage).double()
    randomise(module)
    rng = np.random.default_rng(0)
    s, masks = rng.normal(size=(2, 16, 32, 48)), torch.from_numpy(rng.normal(size=(3, 4, 14, 14)))
    rois = torch.tensor([[0, 3, 5, 60, 70], [1, 10.5, 4, 180, 120], [1, 0, 0, 40, 44]], dtype=torch.float64)
    maps = np.zeros((2, 4, 32, 48))
    cover = np.zeros((2, 1, 32, 48))
    for roi, mask in zip(rois, masks, strict=True):  # one by one, each written at its own level
        stride = 2 ** int(assign_levels(roi[None]))
        size = (2, 128 // stride, 192 // stride)
        for target, source in ((maps, mask[None]), (cover, torch.ones_like(mask[None, :1]))):
            written = roi_upsample(source, roi[None], size, 1 / stride)
            written = torch.nn.functional.interpolate(written, size=(32, 48), mode="bilinear", align_corners=False)
            target += written.numpy()
    if coverage:
        maps = maps / np.maximum(cover, 1e-3)
    assert isinstance(module.reweight, BackgroundReweight)
    expected = reweighted(attended(s, maps, module), module.reweight)
    result, _ = module(torch.from_numpy(s), masks, rois)
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=0, atol=1e-4)


def test_attention_starts_as_a_plain_factor() -> None:
    module = ProposalAttention(6, 5, 16, reweight=False)
    _, weights = module(torch.randn(1, 16, 8, 8), torch.randn(1, 6, 8, 8))
    assert (weights - 0.5).abs().max() < 0.1


def test_mask_attention_without_rois() -> None:
    module = MaskAttention(4, 5, 16, reweight=True, coverage=True)
    semantic = torch.randn(2, 16, 8, 8)
    result, weights = module(semantic, torch.zeros(0, 4, 28, 28), torch.zeros(0, 5))
    assert result.shape == semantic.shape
    torch.testing.assert_close(weights, torch.full_like(weights, 0.5), atol=0.05, rtol=0)
