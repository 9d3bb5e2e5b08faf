"""From settings to modules. Only the `build_…` functions read settings; modules are given modules and numbers."""

from __future__ import annotations

from aunet.categories import Categories
from aunet.config import AUNetConfig
from aunet.model.attention import AttentionForm, MaskAttention, ProposalAttention
from aunet.model.aunet import AUNet
from aunet.model.backbone import build_backbone, normalization
from aunet.model.background import BackgroundBranch
from aunet.model.foreground import build_foreground
from aunet.model.initialization import seeded
from aunet.model.levels import LEVELS
from aunet.model.norm import norm_layer
from aunet.model.rpn import build_rpn


def build_model(config: AUNetConfig, categories: Categories, *, load_weights: bool = True) -> AUNet:
    """Build AUNet for a set of categories.

    Each part's initial weights depend on torch's seed and the part's name alone.

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
    form = AttentionForm(
        attention.channels,
        reweight=attention.reweight,
        identity=attention.reweight_start == "identity",
        centered=attention.centered,
    )
    if attention.pam:
        pam = [
            seeded(f"background.pam.{number}", lambda: ProposalAttention(channels, background.channels, form))
            for number in range(len(LEVELS))
        ]
    if attention.mam:
        mam = seeded(
            "background.mam",
            lambda: MaskAttention(
                config.foreground.mask_channels,
                background.channels,
                form,
                coverage=attention.normalize == "coverage",
                written=attention.written,
            ),
        )
    backbones = {
        name: seeded(name, lambda: build_backbone(config.backbone, load_weights=load_weights))
        for name in ("backbone", "background_backbone")
        if name == "backbone" or not config.shared_backbone
    }
    num_semantic = categories.num_semantic(background.thing_labels)
    return AUNet(
        **backbones,
        normalization=normalization(config.backbone),
        rpn=seeded("rpn", lambda: build_rpn(config.rpn, channels, norm)),
        foreground=seeded(
            "foreground", lambda: build_foreground(config.foreground, channels, len(categories.things), norm)
        ),
        background=seeded(
            "background",
            lambda: BackgroundBranch(
                channels,
                background.channels,
                background.convs,
                num_semantic,
                norm,
                pam=pam,
                mam=mam,
                gain=attention.gain,
                final_conv=background.final_conv,
            ),
        ),
        mask_size=attention.mask_size,
        hard_pixels=background.hard_pixels,
    )
