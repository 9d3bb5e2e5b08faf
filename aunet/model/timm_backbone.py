"""Backbones of timm with features at strides 4, 8, 16 and 32. timm is optional, and imported when one is built."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from aunet.config import TIMM, BackboneConfig
from aunet.errors import InputError
from aunet.model.initialization import described
from aunet.model.levels import LEVELS
from aunet.model.pretrained import FIELD, NAME, PACKAGE, import_timm, read_weights
from aunet.model.timm_layers import replace_layers

STRIDES = (4, 8, 16, 32)
SUITABLE = "such as timm:convnext_tiny, timm:swin_tiny_patch4_window7_224 or timm:tf_efficientnet_lite0"


class TimmFeatures(nn.Module):
    """A network of timm; `forward(Tensor[N, 3, H, W])` gives `{"0": Tensor[N, C_2, H/4, W/4], …, "3": …/32}`.

    Args:
        network: of `timm.create_model(…, features_only=True)`, with four outputs.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.channels: list[int] = network.feature_info.channels()
        self.are_last = str(getattr(network, "output_fmt", "")).endswith("NHWC")
        """Whether the network has channels in its last dimension."""

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps = self.network(images)
        if self.are_last:
            maps = [features.permute(0, 3, 1, 2) for features in maps]
        return OrderedDict(zip(LEVELS, maps, strict=True))

    def stages(self) -> dict[str, int]:
        """The stage of each parameter: 0 for what comes before the first level's own modules, then 1 … 4."""
        names = [name for name, _ in self.network.named_parameters()]
        prefixes = [name.replace(".", "_") + "_" for name in self.network.feature_info.module_name()]
        ends, starts = [], []
        for prefix in prefixes:
            own = [n for n, name in enumerate(names) if name.replace(".", "_").startswith(prefix)]
            starts.append(own[0] if own else len(names))
            ends.append(own[-1] if own else len(names))
        bounds = [starts[0], *(end + 1 for end in ends[:-1])]
        return {f"network.{name}": sum(n >= bound for bound in bounds) for n, name in enumerate(names)}


def build_timm(config: BackboneConfig, *, load_weights: bool = True) -> TimmFeatures:
    """The network `config.name` of timm with `config.weights`, frozen and normalised as `config` says.

    Raises:
        InputError: timm is not installed or does not know the name; the network lacks a stride, or takes images of one
            size only; or its weights cannot be read or belong to another network.
    """
    timm, name = import_timm(config.name), config.name.removeprefix(TIMM)
    settings = _settings(timm, config.name)
    if config.weights and load_weights:
        state = _fitted(timm, config, read_weights(config.name, config.weights))
        settings |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state}}
    network = timm.create_model(name, **settings)
    network.pretrained_cfg = network.default_cfg = {}  # they hold the state dict
    features = TimmFeatures(network)
    stages = features.stages()
    for parameter_name, parameter in features.named_parameters():
        parameter.requires_grad_(stages[parameter_name] >= 5 - config.trainable_stages)
    replace_layers(network, timm, freeze_norms=config.norm == "frozen_bn")
    return features


def timm_normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the pixels, 0 … 1, with which timm's weights of `name` were trained."""
    known = import_timm(name).get_pretrained_cfg(name.removeprefix(TIMM))
    return tuple(known.mean), tuple(known.std)


def _settings(timm: Any, name: str) -> dict[str, Any]:
    """Arguments of `create_model` that give features at the four strides, of images of any size.

    Raises:
        InputError: there are none.
    """
    model_name = name.removeprefix(TIMM)
    settings: dict[str, Any] = {"features_only": True}
    with described():
        try:
            network = timm.create_model(model_name, **settings, strict_img_size=False)
            settings["strict_img_size"] = False
        except TypeError:  # of those that take any size anyway
            network = timm.create_model(model_name, **settings)
        strides: list[int] = network.feature_info.reduction()
        if not set(STRIDES) <= set(strides):
            reason = f"has features at strides {', '.join(map(str, strides))}, not at 4, 8, 16 and 32, as a ViT has"
            raise InputError(f"{NAME} = {name!r}: {reason}; use a network with a pyramid, {SUITABLE}")
        settings["out_indices"] = [len(strides) - 1 - strides[::-1].index(stride) for stride in STRIDES]
        try:
            timm.create_model(model_name, **settings)(torch.zeros(1, 3, 96, 160))
        except (AssertionError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"{NAME} = {name!r}: cannot take images of 96×160 pixels ({reason:.100}); use a network for any size, "
                f"{SUITABLE}"
            ) from error
    return settings


def _fitted(timm: Any, config: BackboneConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` without its classifier, for timm to load.

    That of a package whose tensors have other names, but the same shapes in the same order, is renamed.

    Raises:
        InputError: it belongs to another network: timm, which renames and drops what it knows, finds entries missing,
            left over or of another shape.
    """
    name = config.name.removeprefix(TIMM)
    with described():
        wanted: dict[str, Tensor] = timm.create_model(name).state_dict()
    is_packaged = (config.weights or "").startswith(PACKAGE)
    if is_packaged and [w.shape for w in state.values()] == [w.shape for w in wanted.values()]:
        return dict(zip(wanted, state.values(), strict=True))
    classifiers = timm.get_pretrained_cfg(name).classifier or ()
    heads = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    state = {
        n: w
        for n, w in state.items()
        if not n.startswith(heads) and (n in wanted or not n.endswith("num_batches_tracked"))
    }
    shapes = {n: w.to("meta") for n, w in state.items()} | {n: w for n, w in wanted.items() if n.startswith(heads)}
    with described():
        try:  # without the name of a classifier timm is strict
            overlay = {"state_dict": shapes, "classifier": None}
            timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
        except Exception as error:  # its filters of names raise almost anything about names that they do not know
            lines = [line.strip() for line in str(error).splitlines()]
            reason = (lines[1:] or lines or [""])[0] or type(error).__name__
            raise InputError(
                f"{FIELD} = {config.weights!r}: of another network ({reason:.160}); give a state dict of timm's {name}"
            ) from error
    return state
