"""The backbone: levels, what learns, and where weights come from."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import get_model, resnet18
from torchvision.models.resnet import Bottleneck, ResNet

from aunet.config import BackboneConfig
from aunet.errors import InputError
from aunet.model import backbone
from aunet.model.backbone import build_backbone
from aunet.model.resnext import DeformableConv, NonLocal, resnext152_64x4d_dcn_nl

SMALL = BackboneConfig(name="resnet18", norm="gn", fpn_channels=16)


def test_five_levels_of_equal_width() -> None:
    levels = build_backbone(replace(SMALL, trainable_stages=5))(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape) for level in levels.values()] == [(1, 16, 64 // s, 96 // s) for s in (4, 8, 16, 32)] + [
        (1, 16, 1, 2)
    ]


@pytest.mark.parametrize(("stages", "frozen"), [(5, set()), (3, {"conv1", "bn1", "layer1"}), (0, None)])
def test_frozen_stages(stages: int, frozen: set[str] | None) -> None:
    body = build_backbone(replace(SMALL, trainable_stages=stages)).body
    still = {name.split(".")[0] for name, p in body.named_parameters() if not p.requires_grad}
    assert still == (frozen if frozen is not None else {n.split(".")[0] for n, _ in body.named_parameters()})


def test_weights_from_a_file(tmp_path) -> None:
    source = resnet18().state_dict()
    path = tmp_path / "resnet18.pth"
    torch.save(source, path)
    body = build_backbone(BackboneConfig(name="resnet18", norm="frozen_bn", weights=str(path))).body.state_dict()
    for name in ("conv1.weight", "layer4.0.conv1.weight"):
        assert torch.equal(body[name], source[name])


def test_missing_weights_say_what_exists() -> None:
    config = BackboneConfig(name="resnet18", weights="no/such/file.pth")
    with pytest.raises(InputError, match="IMAGENET1K_V1"):
        build_backbone(config)
    build_backbone(config, load_weights=False)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return resnet18().state_dict()


def named_by_hash(folder: Path, state: dict[str, torch.Tensor], suffix: str = "pth") -> Path:
    """A file as torchvision publishes them: its name ends on the first digits of its SHA-256."""
    path = folder / f"resnet18.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    return path.rename(folder / f"resnet18-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.{suffix}")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_the_hash_in_a_files_name_is_checked(tmp_path: Path, state: dict[str, torch.Tensor], suffix: str) -> None:
    path = named_by_hash(tmp_path, state, suffix)
    body = build_backbone(BackboneConfig(name="resnet18", weights=str(path))).body
    assert torch.equal(body.state_dict()["conv1.weight"], state["conv1.weight"])
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or a different one"):
        build_backbone(BackboneConfig(name="resnet18", weights=str(path)))


def test_weights_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "page.pth"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=r"page\.pth': not a state dict .* fetch the file again"):
        build_backbone(BackboneConfig(name="resnet18", weights=str(path)))


def test_weights_of_another_network_are_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    with pytest.raises(
        InputError, match=r"80 entries are missing, .* a state dict of resnet34 with torchvision's names"
    ):
        build_backbone(BackboneConfig(name="resnet34", weights=str(path)))
    with pytest.raises(InputError, match=r"size mismatch for .* a state dict of resnet50"):
        build_backbone(BackboneConfig(name="resnet50", weights=str(path)))
    torch.save({f"model.{name}": value for name, value in state.items()}, path)
    with pytest.raises(InputError, match=r"the first is conv1\.weight"):
        build_backbone(BackboneConfig(name="resnet18", weights=str(path)))


@pytest.mark.parametrize(("name", "deeper"), [("resnet18", "resnet34"), ("resnet50", "resnet101")])
@pytest.mark.parametrize("norm", ["frozen_bn", "bn", "gn"])
def test_weights_of_a_deeper_network_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, deeper: str, norm: Any
) -> None:
    """It has all that the network has, and more."""
    states = {other: get_model(other).state_dict() for other in (name, deeper)}
    monkeypatch.setattr(backbone, "read_weights", lambda _, weights: states[weights])
    more = (len(states[deeper]) - len(states[name])) // 6 * (3 if norm == "gn" else 5)
    with pytest.raises(InputError, match=rf"{more} entries are of another network, the first is layer\d\.\d\..*{name}"):
        build_backbone(BackboneConfig(name=name, norm=norm, weights=deeper))
    loaded = build_backbone(BackboneConfig(name=name, norm=norm, weights=name)).body.state_dict()
    assert all(torch.equal(weight, states[name][entry]) for entry, weight in loaded.items())


def test_batch_norms_of_frozen_stages_stay_as_they_are() -> None:
    """Frozen weights with statistics that follow the batches would be another network after every step."""
    network = build_backbone(BackboneConfig(name="resnet18", norm="bn", trainable_stages=3, fpn_channels=16))
    before = {n: w.clone() for n, w in network.state_dict().items()}
    assert list(before) == list(build_backbone(replace(SMALL, norm="bn")).state_dict())
    for _ in range(2):  # as it is built, and as a step of training leaves it
        network(torch.rand(2, 3, 64, 64))
        changed = {n.split(".")[1] for n, w in network.state_dict().items() if not torch.equal(w, before[n])}
        assert changed == {"layer2", "layer3", "layer4"}
        network.eval().train()
    assert network.training and not any(module.training for module in network.eval().modules())


def test_without_a_network_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError) as caught:
        build_backbone(BackboneConfig(name="resnet18", weights="IMAGENET1K_V1"))
    message = caught.value.problems[0]
    assert "resnet18-f37072fd.pth cannot be fetched" in message and "give its path" in message
    assert str(tmp_path) in message


def test_deformable_and_non_local_start_as_a_plain_network() -> None:
    """With its additions at their start ResNeXt-152 computes what a plain one with the same weights computes."""
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2, bias=False)
    x = torch.randn(2, 8, 12, 10)
    torch.testing.assert_close(DeformableConv(plain)(x), plain(x))
    assert torch.equal(NonLocal(8)(x), x)


def test_non_local_is_attention_over_all_positions() -> None:
    torch.manual_seed(0)
    block, x = NonLocal(8), torch.randn(2, 8, 3, 5)
    nn.init.normal_(block.out.weight)

    def projected(conv: nn.Conv2d) -> torch.Tensor:
        assert conv.bias is not None
        return torch.einsum("oc,nchw->nohw", conv.weight[..., 0, 0], x) + conv.bias.view(1, -1, 1, 1)

    theta, phi, g = map(projected, (block.theta, block.phi, block.g))
    affinity = torch.einsum("ncij,nckl->nijkl", theta, phi).flatten(3) / 4**0.5
    seen = torch.einsum("nijp,ncp->ncij", affinity.softmax(-1), g.flatten(2))
    expected = x + torch.einsum("oc,nchw->nohw", block.out.weight[..., 0, 0], seen)
    torch.testing.assert_close(block(x), expected)


def test_offsets_move_what_is_read() -> None:
    plain = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    layer, x = DeformableConv(plain), torch.rand(1, 1, 6, 7)
    assert layer.offset.bias is not None
    nn.init.constant_(layer.offset.bias[1::2], 1.0)
    torch.testing.assert_close(layer(x)[..., 1:-1, 1:-2], plain(x)[..., 1:-1, 2:-1])


def test_offsets_are_not_rounded_under_autocast() -> None:
    """A step of 1/8 pixel, which is all that bf16 has from 16 pixels on, would show in a ramp."""
    layer = DeformableConv(nn.Conv2d(1, 1, 1, bias=False))
    assert layer.offset.bias is not None
    nn.init.ones_(layer.weight)
    nn.init.constant_(layer.offset.bias, 17.05)
    ramp = torch.arange(40.0).expand(1, 1, 40, 40)
    with torch.autocast("cpu", torch.bfloat16):
        read = layer(ramp)
    torch.testing.assert_close(read[0, 0, 0, :20], torch.arange(20.0) + 17.05, rtol=0, atol=1e-4)


def test_both_learn_under_autocast() -> None:
    layers = nn.Sequential(DeformableConv(nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)), NonLocal(8))
    x = torch.randn(2, 8, 6, 5)
    with torch.autocast("cpu", torch.bfloat16):
        result = layers(x.bfloat16())
    assert result.dtype == torch.bfloat16
    result.float().square().sum().backward()
    learning = [n for n, p in layers.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert learning == ["0.weight", "0.offset.weight", "0.offset.bias", "1.out.weight", "1.out.bias"]


def test_resnext_takes_the_weights_of_a_plain_one() -> None:
    with torch.device("meta"):
        network = resnext152_64x4d_dcn_nl(nn.BatchNorm2d)
        plain = ResNet(Bottleneck, [3, 8, 36, 3], groups=64, width_per_group=4)
        levels = build_backbone(BackboneConfig(name="resnext152_64x4d_dcn_nl", norm="gn"))(torch.zeros(1, 3, 64, 96))
    assert set(plain.state_dict()) < set(network.state_dict())
    added = {name.split(".")[-2] for name in set(network.state_dict()) - set(plain.state_dict())}
    assert added == {"offset", "theta", "phi", "g", "out"}
    assert sum(isinstance(m, DeformableConv) for m in network.modules()) == 8 + 36 + 3
    assert [tuple(level.shape[-2:]) for level in levels.values()] == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
