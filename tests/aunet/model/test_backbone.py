"""The backbone: levels, what learns, and where weights come from."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet18

from aunet.config import BackboneConfig
from aunet.errors import InputError
from aunet.model.backbone import build_backbone

SMALL = dict(name="resnet18", norm="gn", fpn_channels=16)


def test_five_levels_of_equal_width() -> None:
    levels = build_backbone(BackboneConfig(**SMALL, trainable_stages=5))(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape) for level in levels.values()] == [(1, 16, 64 // s, 96 // s) for s in (4, 8, 16, 32)] + [
        (1, 16, 1, 2)
    ]


@pytest.mark.parametrize(("stages", "frozen"), [(5, set()), (3, {"conv1", "bn1", "layer1"}), (0, None)])
def test_frozen_stages(stages: int, frozen: set[str] | None) -> None:
    body = build_backbone(BackboneConfig(**SMALL, trainable_stages=stages)).body
    still = {name.split(".")[0] for name, p in body.named_parameters() if not p.requires_grad}
    assert still == (frozen if frozen is not None else {n.split(".")[0] for n, _ in body.named_parameters()})


def test_weights_from_a_file(tmp_path) -> None:
    source = resnet18()
    path = tmp_path / "resnet18.pth"
    torch.save(source.state_dict(), path)
    body = build_backbone(BackboneConfig(name="resnet18", norm="frozen_bn", weights=str(path))).body
    assert torch.equal(body["conv1"].weight, source.conv1.weight)
    assert torch.equal(body["layer4"][0].conv1.weight, source.layer4[0].conv1.weight)


def test_missing_weights_say_what_exists() -> None:
    config = BackboneConfig(name="resnet18", weights="no/such/file.pth")
    with pytest.raises(InputError, match="IMAGENET1K_V1"):
        build_backbone(config)
    build_backbone(config, load_weights=False)
