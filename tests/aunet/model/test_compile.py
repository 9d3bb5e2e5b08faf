"""A compiled network learns as the network does, and is compiled once, whatever the size of the images."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from aunet.config import BackboneConfig, LossWeights
from aunet.model import AUNet, build_model
from aunet.structures import Batch
from tests.tiny import CATEGORIES, TINY, make_target

SIZES = ((128, 160), (160, 128), (192, 192))
BOXES = [[10, 12, 70, 60], [40, 30, 110, 120]]


@pytest.fixture(autouse=True)
def compiled_anew() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def networks(backend: str) -> tuple[AUNet, AUNet]:
    """One as it is and its compiled twin."""
    torch.manual_seed(0)
    network = build_model(TINY, CATEGORIES)
    twin = copy.deepcopy(network)
    twin.compile(backend=backend)
    return network, twin


def step(network: AUNet, size: tuple[int, int], boxes: list[list[int]]) -> tuple[list[float], dict[str, Tensor]]:
    """Losses and gradients for two images."""
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    network.zero_grad()
    losses = network.train()(Batch(images, [size] * 2, [make_target(size, boxes, n) for n in range(2)]))
    losses.total(LossWeights()).backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    return [float(loss.detach()) for loss in losses], gradients


def assert_same_step(network: AUNet, twin: AUNet, size: tuple[int, int], boxes: list[list[int]] = BOXES) -> None:
    """Gradients to 2 %: a factor of 1 + 1e-7 on the input, which moves a ReLU over its kink, changes some by 1 %."""
    (losses, wanted), (others, actual) = step(network, size, boxes), step(twin, size, boxes)
    assert others == pytest.approx(losses, rel=1e-5)
    assert actual.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (actual[name] - gradient).norm() <= 0.02 * gradient.norm(), name


def test_compiled_once_for_all_sizes() -> None:
    network, twin = networks("aot_eager")
    assert twin.state_dict().keys() == network.state_dict().keys()
    assert_same_step(network, twin, SIZES[0])
    assert counters["stats"]["unique_graphs"] == 3, "backbone, RPN head and background branch, without a break"
    for size in SIZES[1:]:
        assert_same_step(network, twin, size)
    assert counters["stats"]["unique_graphs"] == 3
    for size in SIZES[:2]:
        assert_same_step(network, twin, size, boxes=[])
    assert counters["stats"]["unique_graphs"] == 4, "one more for batches without things"
    copied = copy.deepcopy(twin).eval()
    copied(Batch(torch.zeros(1, 3, 96, 96, dtype=torch.uint8), [(96, 96)], []))
    assert counters["stats"]["unique_graphs"] == 4, "copies are not compiled"


def graphs_of_timm() -> int:
    """Graphs that a network with a backbone of timm becomes when it has seen images of all sizes."""
    backbone = BackboneConfig(name="timm:regnety_002", norm="bn", trainable_stages=5, fpn_channels=16)
    torch.manual_seed(0)
    network = build_model(replace(TINY, backbone=backbone), CATEGORIES)
    network.compile(backend="aot_eager")
    for size in SIZES:
        step(network, size, BOXES)
    return counters["stats"]["unique_graphs"]


def test_a_network_of_timm_is_one_graph() -> None:
    """In a fresh process: what was exported in this one before may change how timm's layers are traced."""
    with get_context("spawn").Pool(1) as process:
        assert process.apply(graphs_of_timm) == 3, "backbone, RPN head and background branch, for all sizes"


@pytest.mark.slow
def test_compiled_by_inductor() -> None:
    network, twin = networks("inductor")
    for size in SIZES:
        assert_same_step(network, twin, size)
    assert counters["stats"]["unique_graphs"] <= 4, "inductor makes a difference between small and large maps, once"
