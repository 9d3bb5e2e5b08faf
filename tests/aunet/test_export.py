"""The exported program finds what the network finds, whatever the size of the image and the number of things."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from aunet import Predictor, build_model
from aunet.config import AugmentConfig, AUNetConfig, BackboneConfig, FusionConfig
from aunet.data.sample import PAD_COLOR
from aunet.errors import InputError
from aunet.export import ExportedNetwork, InferenceNetwork, export_network
from aunet.model import AUNet, Output, backbone
from aunet.model.resnext import DeformableConv, NonLocal
from aunet.model_files import PROGRAM
from aunet.structures import Batch
from pipelines import presets
from pipelines.settings.variants import TABLE_1
from tests.tiny import CATEGORIES, TINY

ROOT = Path(__file__).parent.parent.parent
CLASSIFIER = "foreground.box_predictor.cls_score.bias"
SIZES = ((96, 128), (70, 90), (200, 100))


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]


def predictor(model: AUNet | ExportedNetwork, config: AUNetConfig = TINY) -> Predictor:
    return Predictor(
        model, config, CATEGORIES, AugmentConfig(short_sides=(96,), max_size=256), FusionConfig(stuff_area=0)
    )


def assert_same(wanted: Output, actual: Output, slack: float = 1) -> list[int]:
    """Compare all that the network says; returns the numbers of detections.

    Args:
        slack: factor on the tolerances; a batch, which the network convolves at once, rounds otherwise than its images.
    """
    for name, tolerance in (("labels", 0), ("boxes", 1e-3), ("scores", 1e-5), ("mask_probs", 1e-4)):
        torch.testing.assert_close(
            getattr(actual.instances, name), getattr(wanted.instances, name), atol=slack * tolerance, rtol=0
        )
    torch.testing.assert_close(actual.semantic.logits, wanted.semantic.logits, atol=slack * 1e-4, rtol=0)
    torch.testing.assert_close(actual.semantic.attention, wanted.semantic.attention, atol=slack * 1e-5, rtol=0)
    return [len(scores) for scores in wanted.instances.scores]


@pytest.fixture(scope="module")
def network() -> AUNet:
    torch.manual_seed(0)
    return build_model(TINY, CATEGORIES).eval()


@pytest.fixture(scope="module")
def file(network: AUNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / PROGRAM
    torch.export.save(export_network(network), path)
    return path


@pytest.fixture(scope="module")
def program(file: Path) -> ExportedNetwork:
    return ExportedNetwork(file)


@contextmanager
def background_bias(network: AUNet, program: ExportedNetwork, value: float) -> Iterator[None]:
    """Both find less when the box head prefers the background."""
    biases = [network.get_parameter(CLASSIFIER), program.get_parameter(f"program.model.{CLASSIFIER}")]
    with torch.no_grad():
        for bias in biases:
            bias[0] += value
        yield
        for bias in biases:
            bias[0] -= value


def test_images_of_different_sizes(network: AUNet, program: ExportedNetwork) -> None:
    eager, exported = predictor(network), predictor(program)
    for images in (pictures()[:1], pictures()[1:2], pictures()):
        assert min(assert_same(eager.run(images)[0], exported.run(images)[0])) > 5
    for wanted, actual in zip(eager(pictures()), exported(pictures()), strict=True):
        assert wanted.panoptic.segments == actual.panoptic.segments
        assert torch.equal(wanted.panoptic.ids, actual.panoptic.ids)
        assert wanted.attention.keys() == actual.attention.keys()


@pytest.mark.parametrize("most", [0, 1])
def test_nothing_and_one_thing_found(network: AUNet, program: ExportedNetwork, most: int) -> None:
    images = pictures()[:1]
    logits: list[torch.Tensor] = []
    hook = network.foreground.box_predictor.cls_score.register_forward_hook(lambda *call: logits.append(call[-1]))
    predictor(network).run(images)
    hook.remove()
    background, first, second = logits[0].unbind(1)
    odds = 1 / network.foreground.score_thresh - 1
    enough = torch.stack([a - background + (odds - (b - a).exp()).log() for a, b in ((first, second), (second, first))])
    ranked = enough.flatten().sort(descending=True).values
    bias = float((ranked[0] + ranked[1]) / 2 if most else ranked[0] + 1)
    with background_bias(network, program, bias):
        counts = assert_same(predictor(network).run(images)[0], predictor(program).run(images)[0])
    assert counts == [most]


def test_no_proposals(program: ExportedNetwork) -> None:
    """An image of no pixels inside its padding; the network itself would divide by them."""
    output = program(Batch(torch.zeros(1, 3, 96, 96, dtype=torch.uint8), [(0, 0)], []))
    assert [len(boxes) for boxes in output.instances.boxes] == [0]
    assert output.semantic.logits.isfinite().all()


def test_too_small_an_image_is_named(program: ExportedNetwork, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has 64×96 pixels.*needs 96×96 or more; use the model folder that it was"):
        program(Batch(torch.zeros(1, 3, 64, 96, dtype=torch.uint8), [(60, 90)], []))
    thin = np.zeros((10, 400, 3), np.uint8)
    Image.fromarray(thin).save(tmp_path / "thin.png")
    with pytest.raises(InputError) as caught:
        predictor(program)([pictures()[0], thin, tmp_path / "thin.png"])
    begins = [problem.partition(" pixels")[0] for problem in caught.value.problems]
    input_ = "the network's input, resized and padded, has 32×256"
    assert begins == [f"image 1: {input_}", f"image {tmp_path / 'thin.png'}: {input_}"]


def test_padding_a_small_image_up_to_what_a_program_takes_would_change_its_result(network: AUNet) -> None:
    """Why it is refused."""
    image = torch.from_numpy(pictures()[0][:64]).permute(2, 0, 1)[None]
    padded = torch.empty(1, 3, 96, 128, dtype=torch.uint8)
    padded[:] = torch.tensor(PAD_COLOR, dtype=torch.uint8).view(1, 3, 1, 1)
    padded[:, :, :64] = image
    with torch.inference_mode():
        alone, enlarged = (network(Batch(images, [(64, 128)], [])).semantic.logits for images in (image, padded))
    assert (alone - enlarged[:, :, :16]).abs().max() > 1e-2


def test_anchors_are_on_the_networks_device() -> None:
    """They are neither parameters nor buffers, and are made on the CPU."""
    network = build_model(TINY, CATEGORIES)
    InferenceNetwork(network.to("meta"))
    assert {anchors.device.type for anchors in network.rpn.anchor_generator.cell_anchors} == {"meta"}


def test_a_program_cannot_do_without_attention(program: ExportedNetwork) -> None:
    exported = predictor(program)
    assert not exported.can_ignore_attention
    with pytest.raises(InputError, match="guided = False: an exported program cannot do without attention"):
        exported(pictures()[:1], guided=False)


def test_it_runs_without_this_package(file: Path, program: ExportedNetwork, tmp_path: Path) -> None:
    code = (
        "import sys, json, torch, torchvision, aunet_ops\n"
        f"program = torch.export.load({str(file)!r}).module()\n"
        "images = (torch.arange(3 * 96 * 128) % 251).to(torch.uint8).view(1, 3, 96, 128)\n"
        "results = program(images, torch.tensor([90, 128]))\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('aunet', 'pipelines')]\n"
        "print(json.dumps({name: value.tolist() for name, value in results.items() if name in ('boxes', 'labels')}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    actual = json.loads(answer.stdout.splitlines()[-1])
    images = (torch.arange(3 * 96 * 128) % 251).to(torch.uint8).view(1, 3, 96, 128)
    here = program(Batch(images, [(90, 128)], [])).instances
    assert actual["labels"] == here.labels[0].tolist()
    torch.testing.assert_close(torch.tensor(actual["boxes"]), here.boxes[0], atol=1e-3, rtol=0)


def tiny(config: AUNetConfig) -> AUNetConfig:
    """A preset's network with the widths of `TINY`."""
    return replace(
        config,
        backbone=replace(config.backbone, fpn_channels=16, weights=None, trainable_stages=3),
        rpn=TINY.rpn,
        foreground=replace(config.foreground, box_channels=32, mask_convs=1, mask_channels=16),
        background=replace(config.background, channels=16),
        attention=replace(config.attention, channels=8),
    )


def small_resnext(norm: Any) -> nn.Module:
    """ResNeXt with a deformable convolution in each late stage and a non-local block, one block per stage."""
    resnet = ResNet(Bottleneck, [1, 1, 1, 1], groups=64, width_per_group=4, norm_layer=norm)
    for stage in (resnet.layer2, resnet.layer3, resnet.layer4):
        block = stage[0]
        assert isinstance(block, Bottleneck)
        deformable = DeformableConv(block.conv2)
        nn.init.normal_(deformable.offset.weight, std=0.01)
        block.add_module("conv2", deformable)
    non_local = NonLocal(1024)
    nn.init.normal_(non_local.out.weight, std=0.01)
    resnet.layer3.add_module("non_local", non_local)
    return resnet


def architectures() -> dict[str, AUNetConfig]:
    """Every architecture that a preset has, each once, and what only an option changes."""
    named = [f"coco_r50_{row}" for row in TABLE_1] + ["coco_x152", "cityscapes_r50", "camvid_small", "coco_overfit"]
    configs = {name: tiny(getattr(presets, name)().model) for name in named}
    aunet = configs["coco_r50_aunet"]
    configs["mask_size 14"] = replace(aunet, attention=replace(aunet.attention, mask_size=14))
    configs["coverage"] = replace(aunet, attention=replace(aunet.attention, normalize="coverage"))
    for name in ("tf_efficientnet_lite0", "convnext_atto"):
        own = BackboneConfig(name=f"timm:{name}", norm="bn", trainable_stages=5, fpn_channels=16)
        configs[own.name] = replace(aunet, backbone=own)
    for written in ("confident", "by_score"):
        attention = replace(aunet.attention, written=written, centered=True)
        configs[written] = replace(aunet, attention=attention, background=replace(aunet.background, final_conv=True))
    configs["torchvision"] = replace(aunet, foreground=replace(aunet.foreground, geometry="torchvision"))
    configs["gain"] = tiny(presets.coco_r50_gain().model)
    configs["box_convs"] = replace(aunet, foreground=replace(aunet.foreground, box_convs=2), branch_norm="none")
    return configs


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures())
def test_every_architecture(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backbone, "resnext152_64x4d_dcn_nl", small_resnext)
    config = architectures()[name]
    torch.manual_seed(0)
    network = build_model(config, CATEGORIES).eval()
    torch.export.save(export_network(network), tmp_path / PROGRAM)
    eager = predictor(network, config)
    exported = predictor(ExportedNetwork(tmp_path / PROGRAM), config)
    for images, slack in ((pictures()[:1], 1), (pictures(), 10)):
        assert_same(eager.run(images)[0], exported.run(images)[0], slack)
