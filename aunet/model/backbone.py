"""Backbone and FPN: the features P2 … P6 that all branches share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import get_model
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import ResNet
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from aunet.config import TIMM, BackboneConfig
from aunet.errors import InputError
from aunet.model.norm import NormLayer, norm_layer
from aunet.model.pretrained import read_weights
from aunet.model.resnext import ADDED, resnext152_64x4d_dcn_nl
from aunet.model.timm_backbone import TimmFeatures, build_timm, timm_normalization

Normalization = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and deviation of red, green and blue, 0 … 1."""
IMAGENET: Normalization = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1")
_COUNTER, _STATISTICS = "num_batches_tracked", (".running_mean", ".running_var")
"""Ends of the names of what a batch norm has beside its weights; nothing here reads its counter."""


class PyramidBackbone(nn.Module):
    """A backbone with a feature pyramid; `forward(Tensor[N, 3, H, W])` gives `{"0": P2, …, "3": P5, "pool": P6}`.

    What is frozen when it is built stays as it is: in training, too, its batch norms use their running statistics.

    Args:
        body: gives four levels, at strides 4 … 32.
        widths: their channels.
        channels: of the pyramid.
        norm: after its convolutions, or None.
    """

    def __init__(self, body: nn.Module, widths: list[int], channels: int, norm: NormLayer | None) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(widths, channels, LastLevelMaxPool(), norm_layer=norm)
        self.train()

    def train(self, mode: bool = True) -> PyramidBackbone:
        """As of any module, but for the batch norms whose parameters are frozen: they stay in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            trained = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
            if isinstance(module, _BatchNorm) and trained and not any(trained):
                module.eval()
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.fpn(self.body(images))

    def stages(self) -> dict[str, int]:
        """The stage of each parameter of the body: 0 for the stem, then 1 … 4, at strides 4 … 32."""
        if isinstance(self.body, TimmFeatures):
            return self.body.stages()
        names = [name for name, _ in self.body.named_parameters()]
        return {name: int(name[5]) if name.startswith("layer") else 0 for name in names}


def build_backbone(config: BackboneConfig, *, load_weights: bool = True) -> PyramidBackbone:
    """The backbone that `config` names, with its feature pyramid.

    Args:
        load_weights: False ignores `config.weights`, for a model whose own weights are loaded afterwards.

    Raises:
        InputError: `config.weights` cannot be read, or belongs to another network; or timm lacks the network.
    """
    if config.name.startswith(TIMM):
        features = build_timm(config, load_weights=load_weights)
        body, widths = features, features.channels
    else:
        resnet = _resnet(config, load_weights=load_weights)
        body = IntermediateLayerGetter(resnet, {f"layer{n}": str(n - 1) for n in (1, 2, 3, 4)})
        widths = [resnet.fc.in_features // 8 * 2**level for level in range(4)]
    return PyramidBackbone(body, widths, config.fpn_channels, norm_layer("gn" if config.norm == "gn" else "none"))


def normalization(config: BackboneConfig) -> Normalization:
    """Mean and deviation of the pixels that the backbone expects taken out: those given, else its own."""
    mean, std = config.pixel_mean, config.pixel_std
    if mean and std:
        return mean, std
    own = timm_normalization(config.name) if config.name.startswith(TIMM) else IMAGENET
    return mean or own[0], std or own[1]


def _resnet(config: BackboneConfig, *, load_weights: bool) -> ResNet:
    """Torchvision's network, or ours, with its weights and frozen stages."""
    norm = norm_layer(config.norm)
    if config.name == "resnext152_64x4d_dcn_nl":
        resnet: nn.Module = resnext152_64x4d_dcn_nl(norm)
    else:
        resnet = get_model(config.name, weights=None, norm_layer=norm)
    assert isinstance(resnet, ResNet)
    if config.weights and load_weights:
        unused = (_COUNTER, *_STATISTICS) if config.norm == "gn" else (_COUNTER,)
        _load(resnet, config.name, config.weights, unused)
    trained = STAGES[: config.trainable_stages]
    for name, parameter in resnet.named_parameters():
        stage = name.split(".")[0]
        parameter.requires_grad_(stage in trained or (stage == "bn1" and "conv1" in trained))
    return resnet


def _load(resnet: ResNet, name: str, weights: str, unused: tuple[str, ...]) -> None:
    """Load all but the classifier; only what is added to a plain network may be missing.

    Args:
        unused: ends of names that the file may have and the network not.

    Raises:
        InputError: the weights cannot be read, or belong to another network, such as a deeper one.
    """
    state = {entry: value for entry, value in read_weights(name, weights).items() if not entry.startswith("fc.")}
    field = f"model.backbone.weights = {weights!r}: "
    cure = f"give a state dict of {name} with torchvision's names"
    try:
        missing, unexpected = resnet.load_state_dict(state, strict=False)
    except RuntimeError as error:  # the sizes of some entries differ
        raise InputError(f"{field}{str(error).splitlines()[-1].strip()}; {cure}") from error
    optional = ("fc.", _COUNTER, *(f".{module}." for module in ADDED))
    lacking = [entry for entry in missing if not any(name in entry for name in optional)]
    if lacking:
        raise InputError(f"{field}{len(lacking)} entries are missing, the first is {lacking[0]}; {cure}")
    if foreign := [entry for entry in unexpected if not entry.endswith(unused)]:
        raise InputError(f"{field}{len(foreign)} entries are of another network, the first is {foreign[0]:.80}; {cure}")
