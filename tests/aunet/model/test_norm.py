"""Norms by name: the groups of group norm, and batch norms that stay as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torchvision.ops import FrozenBatchNorm2d

from aunet.model.norm import MIN_GROUP, FrozenNorm, GroupNorm, group_norm, norm_layer


@pytest.mark.parametrize(("channels", "groups"), [(256, 32), (64, 16), (4, 1), (6, 1), (12, 3)])
def test_groups_have_enough_channels(channels: int, groups: int) -> None:
    norm = group_norm(channels)
    assert norm.num_groups == groups and channels // groups >= MIN_GROUP


def normalized_on_a_gpu(norm: type[nn.GroupNorm], number_format: torch.dtype) -> torch.dtype:
    """What CUDA's autocast makes of a map in a network; tensors without content need no GPU."""
    with FakeTensorMode(), torch.device("cuda:0"):
        layer, images = norm(16, 64), torch.empty(2, 64, 8, 8, dtype=number_format)
        before = torch.get_autocast_dtype("cuda")
        torch.set_autocast_dtype("cuda", torch.bfloat16)
        torch.set_autocast_enabled("cuda", True)
        try:
            return layer(images).dtype
        finally:
            torch.set_autocast_enabled("cuda", False)
            torch.set_autocast_dtype("cuda", before)


@pytest.mark.parametrize("number_format", [torch.bfloat16, torch.float16, torch.float32])
def test_on_gpus_group_norm_keeps_the_format_of_its_map(number_format: torch.dtype) -> None:
    assert normalized_on_a_gpu(GroupNorm, number_format) == number_format
    assert normalized_on_a_gpu(nn.GroupNorm, number_format) == torch.float32, "the control"


@pytest.mark.parametrize("number_format", [torch.bfloat16, torch.float32])
def test_on_cpus_group_norm_is_torchs(number_format: torch.dtype) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 64, 8, 8).to(number_format)
    assert torch.equal(GroupNorm(16, 64)(images), nn.GroupNorm(16, 64)(images))


def both(channels: int = 8) -> tuple[FrozenNorm, FrozenBatchNorm2d]:
    torch.manual_seed(0)
    theirs, ours = FrozenBatchNorm2d(channels), FrozenNorm(channels)
    state = {name: torch.rand(channels) + 0.5 for name in theirs.state_dict()}
    for norm in (theirs, ours):  # as a checkpoint of a batch norm has it
        norm.load_state_dict({**state, "num_batches_tracked": torch.tensor(7)})
    return ours, theirs


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_in_float32_a_frozen_batch_norm_is_torchvisions_to_the_bit(memory_format: torch.memory_format) -> None:
    ours, theirs = both()
    images = torch.randn(2, 8, 17, 33).contiguous(memory_format=memory_format)
    inputs = [images.clone().requires_grad_() for _ in range(2)]
    maps = [norm(x) for norm, x in zip((ours, theirs), inputs, strict=True)]
    for result in maps:
        result.square().sum().backward()
    assert torch.equal(*maps)
    assert inputs[0].grad is not None and inputs[1].grad is not None and torch.equal(inputs[0].grad, inputs[1].grad)


def test_a_frozen_batch_norm_keeps_the_format_of_its_map() -> None:
    ours, theirs = both()
    images = torch.randn(2, 8, 16, 16).bfloat16()
    exact = theirs(images)
    assert exact.dtype == torch.float32 and ours(images).dtype == torch.bfloat16
    torch.testing.assert_close(ours(images).float(), exact, rtol=2**-6, atol=2**-6)


def test_norms_by_name() -> None:
    layer = norm_layer("frozen_bn")
    assert layer is FrozenNorm and norm_layer("gn") is group_norm and norm_layer("none") is None
