"""From settings to modules. Only the `build_…` functions read settings; modules are given modules and numbers."""

from __future__ import annotations

from aunet.categories import Categories
from aunet.config import AUNetConfig
from aunet.model.attention import MaskAttention, ProposalAttention
from aunet.model.aunet import AUNet
from aunet.model.backbone import build_backbone
from aunet.model.background import BackgroundBranch
from aunet.model.foreground import build_foreground
from aunet.model.levels import LEVELS
from aunet.model.norm import norm_layer
from aunet.model.rpn import build_rpn


def build_model(config: AUNetConfig, categories: Categories, *, load_weights: bool = True) -> AUNet:
    """Build AUNet for a set of categories.

    Args:
        load_weights: whether to initialise the backbone from `config.backbone.weights`; False when the weights of the
            whole network are loaded afterwards.

    Raises:
        InputError: the backbone's weights cannot be read.
    """
    channels = config.backbone.fpn_channels
    norm = norm_layer(config.branch_norm)
    background, attention = config.background, config.attention
    pam, mam = [], None
    if attention.pam:
        pam = [
            ProposalAttention(channels, attention.channels, background.channels, reweight=attention.reweight)
            for _ in LEVELS
        ]
    if attention.mam:
        mam = MaskAttention(
            config.foreground.mask_channels,
            attention.channels,
            background.channels,
            reweight=attention.reweight,
            coverage=attention.normalize == "coverage",
        )
    own = None if config.shared_backbone else build_backbone(config.backbone, load_weights=load_weights)
    return AUNet(
        backbone=build_backbone(config.backbone, load_weights=load_weights),
        background_backbone=own,
        rpn=build_rpn(config.rpn, channels, norm),
        foreground=build_foreground(config.foreground, channels, len(categories.things), norm),
        background=BackgroundBranch(
            channels,
            background.channels,
            background.convs,
            categories.num_semantic(background.thing_labels),
            norm,
            pam=pam,
            mam=mam,
        ),
        mask_size=attention.mask_size,
        hard_pixels=background.hard_pixels,
    )
