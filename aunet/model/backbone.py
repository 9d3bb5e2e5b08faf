"""ResNet-FPN: the features P2 … P6 that all branches share."""

from __future__ import annotations

from torch import nn
from torchvision.models import get_model
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import ResNet

from aunet.config import BackboneConfig
from aunet.errors import InputError
from aunet.model.norm import norm_layer
from aunet.model.pretrained import read_weights
from aunet.model.resnext import ADDED, resnext152_64x4d_dcn_nl

STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1")


def build_backbone(config: BackboneConfig, *, load_weights: bool = True) -> BackboneWithFPN:
    """ResNet with a feature pyramid; `forward(Tensor[N, 3, H, W])` gives `{"0": P2, …, "3": P5, "pool": P6}`.

    Args:
        load_weights: False ignores `config.weights`, for a model whose own weights are loaded afterwards.

    Raises:
        InputError: `config.weights` cannot be read, or belongs to another network.
    """
    norm = norm_layer(config.norm)
    if config.name == "resnext152_64x4d_dcn_nl":
        resnet: nn.Module = resnext152_64x4d_dcn_nl(norm)
    else:
        resnet = get_model(config.name, weights=None, norm_layer=norm)
    assert isinstance(resnet, ResNet)
    if config.weights and load_weights:
        _load(resnet, config.name, config.weights)
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


def _load(resnet: ResNet, name: str, weights: str) -> None:
    """Load all but the classifier; only what is added to a plain network may be missing."""
    state = {entry: value for entry, value in read_weights(name, weights).items() if not entry.startswith("fc.")}
    field = f"model.backbone.weights = {weights!r}: "
    cure = f"give a state dict of {name} with torchvision's names"
    try:
        missing = resnet.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:  # the sizes of some entries differ
        raise InputError(f"{field}{str(error).splitlines()[-1].strip()}; {cure}") from error
    optional = ("fc.", "num_batches_tracked", *(f".{module}." for module in ADDED))
    lacking = [entry for entry in missing if not any(name in entry for name in optional)]
    if lacking:
        raise InputError(f"{field}{len(lacking)} entries are missing, the first is {lacking[0]}; {cure}")
