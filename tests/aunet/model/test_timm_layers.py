"""Layers in the place of timm's: the same numbers and names, and what they are for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aunet.model.timm_layers import BackboneConv, FrozenNormAct, replace_layers

timm = pytest.importorskip("timm", reason="needs timm: the library's extra `timm`")
NAMES = ["tf_efficientnet_lite0", "mobilenetv4_conv_small", "convnext_atto", "regnety_002"]


def networks(name: str, *, frozen: bool) -> tuple[nn.Module, nn.Module]:
    """Timm's features, and the same with our layers; their batch norms have seen other images than zeros and ones."""
    pair = []
    for _ in range(2):
        torch.manual_seed(0)
        pair.append(timm.create_model(name, features_only=True, out_indices=(1, 2)))
    for network in pair:
        torch.manual_seed(1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.get_buffer("running_mean").normal_(std=0.1)
                module.get_buffer("running_var").uniform_(0.5, 2)
    theirs, ours = pair
    replace_layers(ours, timm, freeze_norms=frozen)
    return timm.utils.model.freeze_batch_norm_2d(theirs) if frozen else theirs.eval(), ours if frozen else ours.eval()


def maps_and_gradients(network: nn.Module, images: Tensor) -> Iterator[Tensor]:
    maps = network(images)
    sum((m.float().square().mean() for m in maps), torch.zeros(())).backward()
    yield from (m.detach().float() for m in maps)
    yield from (p.grad for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frozen", [False, True])
def test_maps_gradients_and_names_are_timms(name: str, frozen: bool) -> None:
    theirs, ours = networks(name, frozen=frozen)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    images = torch.randn(2, 3, 96, 160)
    pairs = list(zip(maps_and_gradients(ours, images), maps_and_gradients(theirs, images), strict=True))
    assert len(pairs) > 5
    for own, expected in pairs:
        assert (own - expected).norm() <= 1e-3 * expected.norm() + 1e-12


@pytest.mark.parametrize("size", [(32, 32), (96, 160), (224, 288)])
def test_tensorflows_padding_is_the_same_for_every_size_that_32_divides(size: tuple[int, int]) -> None:
    theirs, ours = networks("tf_efficientnet_lite0", frozen=False)
    images = torch.randn(1, 3, *size)
    assert all(torch.equal(a, b) for a, b in zip(ours(images), theirs(images), strict=True))


def depthwise(size: int = 3, **settings: Any) -> tuple[nn.Conv2d, BackboneConv]:
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, size, groups=8, **settings)
    return plain, BackboneConv(plain, same=False)


def test_depthwise_convolutions_compute_in_float32_under_autocast() -> None:
    plain, ours = depthwise(5, stride=2, padding=2)
    images = torch.randn(2, 8, 16, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        rounded, exact = plain(images), ours(images)
    assert rounded.dtype == torch.bfloat16 and exact.dtype == torch.float32
    assert torch.equal(exact, plain(images.float())) and not torch.equal(exact, rounded.float())
    assert torch.equal(ours(images.float()), exact), "and without autocast"


def test_nothing_else_changes_its_number_format() -> None:
    _, ours = depthwise()
    assert ours.bfloat16()(torch.randn(1, 8, 8, 8).bfloat16()).dtype == torch.bfloat16
    dense = BackboneConv(nn.Conv2d(8, 8, 3), same=False)
    with torch.autocast("cpu", torch.bfloat16):
        assert dense(torch.randn(1, 8, 8, 8)).dtype == torch.bfloat16


def test_a_frozen_norm_keeps_the_format_of_its_map_and_nothing_for_its_gradient() -> None:
    images, kept = torch.randn(2, 8, 16, 16, requires_grad=True), list[int]()
    with (
        torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t),
        torch.autocast("cpu", torch.bfloat16),
    ):
        result = FrozenNormAct(nn.BatchNorm2d(8))(images.bfloat16())
    assert result.dtype == torch.bfloat16 and max(kept) < images.numel()
