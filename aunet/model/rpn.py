"""RPN branch: torchvision's region proposal network, which also hands its 3×3 features P_i to the background branch."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers

from aunet.config import RPNConfig
from aunet.model.norm import NormLayer
from aunet.model.precision import at_least_float32
from aunet.structures import Target


class ProposalHead(RPNHead):
    """3×3 convolution, optional normalisation and ReLU, then objectness and box deltas per anchor."""

    def __init__(self, channels: int, num_anchors: int, norm: NormLayer | None) -> None:
        super().__init__(channels, num_anchors)
        if norm is not None:
            block: Any = self.conv[0]
            self.conv = nn.Sequential(block[0], norm(channels), block[1])

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:  # type: ignore[override]
        """Per level: P_i `Tensor[N, C_r, H_i, W_i]`, objectness `[N, A, H_i, W_i]`, deltas `[N, 4A, H_i, W_i]`."""
        hidden = [self.conv(feature) for feature in features]
        objectness, deltas = (
            [at_least_float32(layer(h)) for h in hidden] for layer in (self.cls_logits, self.bbox_pred)
        )
        return hidden, objectness, deltas


class Proposals(NamedTuple):
    """The output of the RPN branch, for the other two."""

    boxes: list[Tensor]
    """Per image Tensor[n, 4], [x1, y1, x2, y2] in pixels of the input, best first."""
    features: list[Tensor]
    """P_i of Eq. 1, per level Tensor[N, C_r, H_i, W_i]."""
    loss: Tensor | None
    """L_RPN of Eq. 7, in training."""


class ProposalNetwork(RegionProposalNetwork):
    """Region proposal network that also returns the features of its head."""

    head: ProposalHead

    def forward(  # type: ignore[override]
        self, images: ImageList, features: dict[str, Tensor], targets: list[Target] | None = None
    ) -> Proposals:
        hidden, objectness, deltas = self.head(list(features.values()))
        # In the format of its maps, as torchvision makes them, anchors of bf16 would be off by up to 7 pixels.
        anchors = self.anchor_generator(images, objectness)
        anchors_per_level = [o[0].numel() for o in objectness]
        scores, regression = concat_box_prediction_layers(objectness, deltas)
        decoded = self.box_coder.decode(regression.detach(), anchors).view(len(anchors), -1, 4)
        boxes, _ = self.filter_proposals(decoded, scores, images.image_sizes, anchors_per_level)
        if targets is None:
            return Proposals(boxes, hidden, None)
        labels, matched = self.assign_targets_to_anchors(anchors, cast(list[dict[str, Tensor]], targets))
        losses = self.compute_loss(scores, regression, labels, self.box_coder.encode(matched, anchors))
        return Proposals(boxes, hidden, losses[0] + losses[1])


def build_rpn(config: RPNConfig, channels: int, norm: NormLayer | None) -> ProposalNetwork:
    """The RPN branch on P2 … P6, which have `channels` each."""
    anchors = AnchorGenerator(
        sizes=tuple((size,) for size in config.anchor_sizes),
        aspect_ratios=(config.aspect_ratios,) * len(config.anchor_sizes),
    )
    return ProposalNetwork(
        anchors,
        ProposalHead(channels, anchors.num_anchors_per_location()[0], norm),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=config.num_samples,
        positive_fraction=0.5,
        pre_nms_top_n=dict(zip(("training", "testing"), config.pre_nms_top_n, strict=True)),
        post_nms_top_n=dict(zip(("training", "testing"), config.post_nms_top_n, strict=True)),
        nms_thresh=config.nms_threshold,
    )
