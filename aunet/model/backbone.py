"""ResNet-FPN: the features P2 … P6 that all branches share."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor
from torchvision.models import get_model, get_model_weights
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import ResNet

from aunet.config import BackboneConfig
from aunet.errors import InputError
from aunet.model.norm import norm_layer

STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1")


def build_backbone(config: BackboneConfig, *, load_weights: bool = True) -> BackboneWithFPN:
    """ResNet with a feature pyramid; `forward(Tensor[N, 3, H, W])` gives `{"0": P2, …, "3": P5, "pool": P6}`.

    Args:
        load_weights: False leaves `config.weights` alone, for a model whose own weights are loaded afterwards.

    Raises:
        InputError: `config.weights` is neither a weight name of torchvision nor a readable file.
    """
    resnet = get_model(config.name, weights=None, norm_layer=norm_layer(config.norm))
    assert isinstance(resnet, ResNet)
    if config.weights and load_weights:
        resnet.load_state_dict(_state_dict(config.name, config.weights), strict=False)
    trained = STAGES[: config.trainable_stages]
    for name, parameter in resnet.named_parameters():
        stage = name.split(".")[0]
        parameter.requires_grad_(stage in trained or (stage == "bn1" and "conv1" in trained))
    width = resnet.fc.in_features // 8
    return BackboneWithFPN(
        resnet,
        return_layers={f"layer{n}": str(n - 1) for n in (1, 2, 3, 4)},
        in_channels_list=[width, 2 * width, 4 * width, 8 * width],
        out_channels=config.fpn_channels,
        norm_layer=norm_layer("gn" if config.norm == "gn" else "none"),
    )


def _state_dict(name: str, weights: str) -> dict[str, Tensor]:
    """The state dict behind a torchvision weight name or a file (`.pth`, `.pt`, `.safetensors`)."""
    known = get_model_weights(name)
    if weights in known.__members__:
        try:
            return dict(known[weights].get_state_dict(progress=False, check_hash=True))
        except (URLError, OSError) as error:
            url = known[weights].url
            raise InputError(
                f"model.backbone.weights = {weights!r}: {url} cannot be fetched ({error}); download the file where "
                "there is a network and give its path"
            ) from error
    path = Path(weights)
    if not path.is_file():
        raise InputError(
            f"model.backbone.weights = {weights!r}: neither a file nor one of {', '.join(known.__members__)}"
        )
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
