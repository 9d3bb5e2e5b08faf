"""Background branch: semantic segmentation over P2 … P5, guided by the foreground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from aunet.model.attention import MaskAttention, ProposalAttention
from aunet.model.initialization import zero_biases
from aunet.model.levels import MIN_LEVEL
from aunet.model.norm import NormLayer
from aunet.model.precision import at_least_float32


class SemanticOutput(NamedTuple):
    """What the background branch predicts."""

    logits: Tensor
    """Tensor[N, num_semantic, H, W] float32 at stride 4."""
    attention: dict[str, Tensor]
    """M' of `pam2` … `pam5` and `mam`, each Tensor[N, 1, H_i, W_i]: high where background is expected (Figure 6)."""


class BackgroundBranch(nn.Module):
    """Light convolutions per level (S_i), PAM per level, upsampled to stride 4 and summed (S_pam), MAM, classifier.

    Args:
        channels: FPN channels.
        semantic_channels: C_s.
        convs: number of 3×3 convolutions on each level.
        num_semantic: number of semantic labels.
        norm: normalisation after each convolution, or None.
        pam: one module per level, or none at all.
        mam: the module, or None.
        gain: a learned factor of 1 … 2 in place of each attention.
        final_conv: a 3×3 convolution, `norm` and ReLU before the classifier.
    """

    gains: Tensor | None

    def __init__(
        self,
        channels: int,
        semantic_channels: int,
        convs: Sequence[int],
        num_semantic: int,
        norm: NormLayer | None,
        pam: Sequence[ProposalAttention] = (),
        mam: MaskAttention | None = None,
        *,
        gain: bool = False,
        final_conv: bool = False,
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(
                *(
                    Conv2dNormActivation(channels if n == 0 else semantic_channels, semantic_channels, norm_layer=norm)
                    for n in range(depth)
                )
            )
            for depth in convs
        )
        self.pam = nn.ModuleList(pam)
        self.mam = mam
        self.register_parameter("gains", nn.Parameter(torch.zeros(len(convs) + 1)) if gain else None)
        self.classifier = nn.Conv2d(semantic_channels, num_semantic, 1)
        for module in self.levels.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classifier.weight, std=0.01)
        zero_biases(self.classifier)
        self.final: nn.Module = nn.Identity()
        if final_conv:
            final = Conv2dNormActivation(semantic_channels, semantic_channels, norm_layer=norm)
            for module in final.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            self.final = final

    @property
    def has_attention(self) -> bool:
        """Whether the foreground guides this branch."""
        return len(self.pam) > 0 or self.mam is not None

    def forward(
        self,
        features: Sequence[Tensor],
        proposals: Sequence[Tensor],
        masks: Tensor,
        rois: Tensor,
        scores: Tensor | None = None,
        *,
        guided: bool = True,
    ) -> SemanticOutput:
        """Label every pixel.

        Args:
            features: P2 … P5 of the FPN, Tensor[N, C, H_i, W_i].
            proposals: the RPN's features of the same levels, Tensor[N, C_r, H_i, W_i].
            masks: Tensor[K, C_m, m, m], features of the mask head.
            rois: Tensor[K, 5], their boxes in pixels of the input.
            scores: Tensor[K], theirs where they are detections.
            guided: False: every M' is 1, which shows what the attention does in a trained network.
        """
        attention: dict[str, Tensor] = {}
        size = features[0].shape[-2:]
        merged: Tensor | None = None
        factors = None if self.gains is None else 1 + self.gains.sigmoid()
        for number, (level, feature) in enumerate(zip(self.levels, features, strict=True)):
            semantic = level(feature)
            if len(self.pam):
                name = f"pam{MIN_LEVEL + number}"
                semantic, attention[name] = self.pam[number](semantic, proposals[number], guided=guided)
            if factors is not None:
                semantic = semantic * factors[number]
            if number:
                semantic = F.interpolate(semantic, size=size, mode="bilinear", align_corners=False)
            merged = semantic if merged is None else merged + semantic
        assert merged is not None
        result = merged
        if self.mam is not None:
            result, attention["mam"] = self.mam(result, masks, rois, scores, guided=guided)
        if factors is not None:
            result = result * factors[-1]
        return SemanticOutput(at_least_float32(self.classifier(self.final(result))), attention)
