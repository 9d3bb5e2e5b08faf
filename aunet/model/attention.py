"""Attention from foreground to background: PAM (section 3.3.1), MAM (section 3.3.2) and the background reweight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aunet.model.initialization import zero_biases
from aunet.model.levels import LEVELS, MIN_LEVEL
from aunet.model.norm import group_norm
from aunet.model.precision import at_least_float32
from aunet_ops import assign_levels, roi_upsample, rois_on_level

CONFIDENT = 0.5
"""Least score of a detection that is taken for a thing."""


class BackgroundReweight(nn.Module):
    """Weights of the background channels, Eq. 3–4.

    N = sigmoid(GN(conv(GAP(S')))), S'' = S' ⊗ N, with `S'` and the result `Tensor[N, C_s, H, W]`.

    Args:
        identity: N is doubled, and the norm's scale starts at 0: N = 1 at the start. In the paper's form it is random.
    """

    def __init__(self, channels: int, *, identity: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.norm = group_norm(channels)
        self.most = 2.0 if identity else 1.0
        if identity:
            nn.init.zeros_(self.norm.weight)

    def forward(self, semantic: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(semantic, 1)
        return semantic * (self.most * self.norm(self.conv(pooled)).sigmoid())


@dataclass(frozen=True)
class AttentionForm:
    """What PAM and MAM of one network have in common."""

    hidden: int
    """C'_r, width between the two convolutions of Eq. 1."""
    reweight: bool = False
    """Reweight the channels after each attention, Eq. 3–4."""
    identity: bool = False
    """See `BackgroundReweight`."""
    centered: bool = False
    """Take the mean of M over the map out of it before σ."""


class SpatialAttention(nn.Module):
    """What PAM and MAM share: M = f(σ(f(P, w1)), w2) (Eq. 1), S' = S ⊗ (1 − sigmoid(M)) ⊕ S (Eq. 2), reweight.

    The last convolution starts near zero, so that M ≈ 0 and attention starts as a constant factor of 1.5.
    """

    def __init__(self, channels: int, semantic_channels: int, form: AttentionForm) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, form.hidden, 1)
        self.score = nn.Conv2d(form.hidden, 1, 1)
        self.centered = form.centered
        nn.init.kaiming_normal_(self.squeeze.weight, nonlinearity="relu")
        nn.init.normal_(self.score.weight, std=0.01)
        zero_biases(self.squeeze, self.score)
        self.reweight = (
            BackgroundReweight(semantic_channels, identity=form.identity) if form.reweight else nn.Identity()
        )

    def attend(self, semantic: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """S'' `Tensor[N, C_s, H, W]` and M' = 1 − sigmoid(M) `Tensor[N, 1, H, W]`, from f(P, w1)."""
        scores = self.score(hidden.relu())
        if self.centered:
            scores = scores - scores.mean((2, 3), keepdim=True)
        weights = 1 - scores.sigmoid()
        return self.reweight(semantic * weights + semantic), weights

    def ignore(self, semantic: Tensor) -> tuple[Tensor, Tensor]:
        """What `attend` gives where M' is 1 everywhere: nothing guides the background branch."""
        return self.reweight(semantic + semantic), torch.ones_like(semantic[:, :1])


class ProposalAttention(SpatialAttention):
    """PAM: the RPN's features P_i tell the background branch roughly where things may be."""

    def forward(self, semantic: Tensor, proposal: Tensor, *, guided: bool = True) -> tuple[Tensor, Tensor]:
        """Attend S_i `Tensor[N, C_s, H, W]` by P_i `Tensor[N, C_r, H, W]`; returns S_i'' and M_i'.

        Not `guided`: P_i is not looked at, and M_i' is 1.
        """
        return self.attend(semantic, self.squeeze(proposal)) if guided else self.ignore(semantic)


class MaskAttention(SpatialAttention):
    """MAM: the mask head's features, written back into the image by RoIUpsample, tell it exactly where things are.

    The first convolution of Eq. 1 is linear, and so is RoIUpsample: convolving the K small masks first and writing
    fewer channels into the map gives the same M at a fraction of the cost. The bias is added to the map afterwards.
    """

    def __init__(
        self,
        channels: int,
        semantic_channels: int,
        form: AttentionForm,
        *,
        coverage: bool,
        written: Literal["all", "confident", "by_score"] = "all",
    ) -> None:
        super().__init__(channels, semantic_channels, form)
        self.coverage, self.written = coverage, written

    def forward(
        self, semantic: Tensor, masks: Tensor, rois: Tensor, scores: Tensor | None = None, *, guided: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Attend S_pam, at the stride of P2, by the instances' masks.

        Args:
            semantic: S_pam, Tensor[N, C_s, H, W].
            masks: Tensor[K, C_m, m, m], mask features of the foreground branch.
            rois: Tensor[K, 5], (image index, x1, y1, x2, y2) in pixels of the input.
            scores: Tensor[K], of detections; None: of RoIs that are known to be things.
            guided: False: the masks are not looked at, and M' is 1.

        Returns:
            S'' Tensor[N, C_s, H, W] and M' Tensor[N, 1, H, W].
        """
        if not guided:
            return self.ignore(semantic)
        squeezed = F.conv2d(masks, self.squeeze.weight)
        if scores is not None and self.written == "by_score":
            squeezed = squeezed * scores.to(squeezed.dtype).view(-1, 1, 1, 1)
        if scores is not None and self.written == "confident":
            index = torch.where(scores >= CONFIDENT, rois[:, 0], -1.0)  # RoIUpsample leaves out RoIs of image -1
            rois = torch.cat([index[:, None], rois[:, 1:]], dim=1)
        written = self.write(squeezed, rois, (semantic.shape[0], semantic.shape[2], semantic.shape[3]))
        assert self.squeeze.bias is not None
        return self.attend(semantic, written.to(semantic.dtype) + self.squeeze.bias.view(1, -1, 1, 1))

    def write(self, masks: Tensor, rois: Tensor, size: tuple[int, int, int]) -> Tensor:
        """RoIUpsample every mask at the FPN level of its RoI, upsample the levels to that of P2 and sum them.

        With `coverage` the sum is divided by the sum of written ones, which keeps values in the masks' range.

        Args:
            masks: Tensor[K, C, m, m].
            rois: Tensor[K, 5], as in `forward`.
            size: (N, H, W) of the result, Tensor[N, C, H, W] in float32 at least.

        """
        num_images, height, width = size
        if self.coverage:
            masks = torch.cat([masks, torch.ones_like(masks[:, :1])], dim=1)
        level_numbers = range(MIN_LEVEL, MIN_LEVEL + len(LEVELS))
        levels = assign_levels(rois, level_numbers[0], level_numbers[-1])
        total = at_least_float32(masks.new_zeros((num_images, masks.shape[1], height, width)))
        for level in level_numbers:
            step = 2 ** (level - MIN_LEVEL)
            level_size = (num_images, -(-height // step), -(-width // step))
            written = roi_upsample(masks, rois_on_level(rois, levels, level), level_size, 2.0**-level)
            written = at_least_float32(written)
            if written.shape[-2:] != (height, width):
                written = F.interpolate(written, size=(height, width), mode="bilinear", align_corners=False)
            total = total + written
        if not self.coverage:
            return total
        return total[:, :-1] / total[:, -1:].clamp(min=1e-3)
