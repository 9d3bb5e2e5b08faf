"""Settings of the network, its losses, its fusion and its augmentation: frozen, validated, no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from aunet.categories import ThingLabels
from aunet.errors import check
from aunet.ranges import Range, Share, check_ranges

Channels = Annotated[int, Range(at_least=8, at_most=8192)]
Convolutions = Annotated[int, Range(at_least=1, at_most=64)]
Number = Annotated[int, Range(at_least=1, at_most=100_000)]
"""Of anchors, proposals, RoIs or detections."""
Side = Annotated[int, Range(at_least=1, at_most=65_536)]
"""Pixels."""
InputSide = Annotated[int, Range(at_least=32, at_most=65_536)]
"""Pixels that leave something at the coarsest level."""
Geometry = Literal["exact", "unaligned", "torchvision"]
Pixel = Annotated[float, Range(above=0, at_most=1)]
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext152_64x4d_dcn_nl")
TIMM = "timm:"
TIMM_NAME = re.compile(r"timm:[\w.-]{1,100}")
PositiveShare = Annotated[float, Range(above=0, at_most=1)]
Factor = Annotated[float, Range(above=0, at_most=100)]
Weight = Annotated[float, Range(at_least=0, at_most=1e6)]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneConfig:
    """Backbone with a feature pyramid, shared by all branches."""

    name: str = "resnet50"
    """`resnet18`, `resnet34`, `resnet50`, `resnet101`, `resnet152`; `resnext152_64x4d_dcn_nl`, with deformable
    convolutions and a non-local block (Table 2); or `timm:NAME`, a network of timm with features at strides 4 … 32."""
    norm: Literal["frozen_bn", "bn", "gn"] = "frozen_bn"
    """`frozen_bn` with pretrained weights (section 3.4); `gn` or `bn` from scratch, where a frozen random batch
    norm does not learn. A network of timm has norms of its own: `frozen_bn` freezes those that are batch norms."""
    weights: str | None = None
    """A torchvision weight name (`IMAGENET1K_V1`); `timm`: what timm publishes for its network; `pip:PACKAGE`: the file
    in an installed package; or a state dict in the library's names: a path, or in the pipelines an object-store URI. A
    file name such as `resnet50-0676ba61.pth` carries the first digits of the content's SHA-256, which is checked; a URI
    needs them. None: random (He) initialisation."""
    trainable_stages: Annotated[int, Range(at_least=0, at_most=5)] = 3
    """How many of the five stages are trained, counted from the top; the others are frozen. 5 from scratch."""
    fpn_channels: Channels = 256
    pixel_mean: tuple[Pixel, Pixel, Pixel] | None = None
    """Mean of red, green and blue, 0 … 1, that is taken out of the images. None: as the backbone's weights were
    trained, ImageNet's for torchvision, its own for timm."""
    pixel_std: tuple[Pixel, Pixel, Pixel] | None = None
    """Their deviation, by which they are divided; None: likewise."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.backbone")
        is_timm = TIMM_NAME.fullmatch(self.name) is not None
        known = f"use one of {', '.join(RESNETS)}, or {TIMM}NAME with a name of timm"
        check(is_timm or self.name in RESNETS, "model.backbone.name", self.name, known)
        own_norms = "a network of timm has norms of its own; use frozen_bn, or bn to train them"
        check(not (is_timm and self.norm == "gn"), "model.backbone.norm", self.norm, own_norms)
        check(
            not (self.norm == "frozen_bn" and self.weights is None and self.trainable_stages == 5),
            "model.backbone.norm",
            self.norm,
            "a frozen batch norm without pretrained weights does not learn; use gn or bn, or give weights",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RPNConfig:
    """Region proposal network; defaults are Mask R-CNN's."""

    anchor_sizes: tuple[Side, ...] = (32, 64, 128, 256, 512)
    """Side of the anchors in pixels, one per level P2 … P6."""
    aspect_ratios: tuple[Factor, ...] = (0.5, 1.0, 2.0)
    num_samples: Annotated[int, Range(at_least=2, at_most=100_000)] = 256
    """Anchors sampled per image for the loss, half of them positive where possible."""
    pre_nms_top_n: tuple[Number, Number] = (2000, 1000)
    """Proposals kept per level before NMS, in training and in inference."""
    post_nms_top_n: tuple[Number, Number] = (2000, 1000)
    """Proposals kept per image after NMS, in training and in inference."""
    nms_threshold: Share = 0.7

    def __post_init__(self) -> None:
        check_ranges(self, "model.rpn")
        check(len(self.anchor_sizes) == 5, "model.rpn.anchor_sizes", self.anchor_sizes, "give five sizes, for P2 … P6")
        check(len(self.aspect_ratios) > 0, "model.rpn.aspect_ratios", self.aspect_ratios, "give at least one ratio")


@dataclass(frozen=True, kw_only=True, slots=True)
class ForegroundConfig:
    """Box head and mask head; defaults are Mask R-CNN's."""

    num_samples: Number = 512
    """RoIs sampled per image for the losses."""
    positive_fraction: PositiveShare = 0.25
    box_convs: Annotated[int, Range(at_least=0, at_most=64)] = 0
    """3×3 convolutions before the box head's fully connected layers (4 with one layer in the GN variant)."""
    box_channels: Channels = 1024
    mask_convs: Convolutions = 4
    mask_channels: Channels = 256
    geometry: Geometry = "exact"
    """Where a pixel is. `exact`: centres at halves everywhere; masks are enlarged without rounding their boxes.
    `unaligned`: RoIAlign reads half a pixel off, as in networks trained without this setting, and masks are enlarged to
    where they were learned. `torchvision`: the same RoIAlign, and masks in boxes rounded to whole pixels."""
    score_threshold: Share = 0.05
    nms_threshold: Share = 0.5
    max_detections: Number = 100

    def __post_init__(self) -> None:
        check_ranges(self, "model.foreground")


@dataclass(frozen=True, kw_only=True, slots=True)
class BackgroundConfig:
    """Background branch over P2 … P5."""

    channels: Channels = 128
    """C_s, width of the semantic features S_i."""
    convs: tuple[Convolutions, Convolutions, Convolutions, Convolutions] = (1, 1, 2, 3)
    """3×3 convolutions on P2, P3, P4 and P5, each at its own resolution."""
    thing_labels: ThingLabels = "one"
    """One label for all things (COCO) or one for each (Cityscapes); section 4.3."""
    final_conv: bool = False
    """Beyond the paper: a 3×3 convolution, norm and ReLU between MAM and the classifier, which without them only see
    attention as a factor."""
    hard_pixels: PositiveShare = 1.0
    """Share of the pixels, those with the highest loss, that L_Seg averages; 1: all, as in the paper. Less than 1 helps
    rare and thin categories."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.background")


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionConfig:
    """Which connections run from foreground to background (Table 1)."""

    pam: bool = True
    """Proposal attention, Eq. 1–2, at P2 … P5."""
    mam: bool = True
    """Mask attention through RoIUpsample, Eq. 5–6."""
    reweight: bool = True
    """Background reweight, Eq. 3–4, after each attention."""
    channels: Channels = 64
    """C'_r, width between the two convolutions of Eq. 1."""
    mask_size: Literal[14, 28] = 28
    """m of the mask features given to RoIUpsample: 14 before the deconvolution, 28 after it."""
    normalize: Literal["coverage"] | None = "coverage"
    """None: overlapping RoIs sum, as written in the paper; `coverage`: divided by the splat of ones, so that what is
    written stays in the range of the masks."""
    reweight_start: Literal["identity", "random"] = "identity"
    """`random`: N = σ(GN(…)), as in the paper: a random factor about .5 for each channel at the start. `identity`:
    N = 2 σ(GN(…)), whose norm starts with a scale of 0, so that N = 1."""
    centered: bool = False
    """Beyond the paper: take the mean over the map out of M before σ, so that M' cannot become a constant."""
    written: Literal["all", "confident", "by_score"] = "all"
    """Which detections MAM writes in inference: all, as in the paper; those with a score of at least .5; or all, each
    mask times its score. In training all sampled positives are written."""
    gain: bool = False
    """Control: five learned scalars in place of PAM and MAM, S' = S (1 + σ(a)): what attention's scale does alone."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.attention")
        cure = "it stands in place of attention; switch model.attention.pam and .mam off"
        check(not (self.gain and (self.pam or self.mam)), "model.attention.gain", self.gain, cure)


@dataclass(frozen=True, kw_only=True, slots=True)
class AUNetConfig:
    """The whole network (Figure 2)."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    rpn: RPNConfig = field(default_factory=RPNConfig)
    foreground: ForegroundConfig = field(default_factory=ForegroundConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    branch_norm: Literal["gn", "none"] = "gn"
    """Group normalisation in all branches (section 3.4)."""
    init_from: str | None = None
    """In the pipelines: a trained model to start from, a run, a model folder or models:/NAME/VERSION, also one of other
    categories: what has another shape there starts anew. It takes the place of `backbone.weights`."""
    shared_backbone: bool = True
    """False: the background branch has a backbone and FPN of its own; without attention these are the two separate
    models of Table 1's first row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossWeights:
    """λ1 … λ4 of Eq. 7; 0 switches a loss off."""

    rpn: Weight = 1.0
    """λ1: objectness and box regression of the proposals."""
    box: Weight = 1.0
    """λ2: classification and box regression of the RoIs (the paper's RCNN)."""
    mask: Weight = 1.0
    """λ3: instance masks."""
    semantic: Weight = 0.3
    """λ4: semantic segmentation of the background branch."""

    def __post_init__(self) -> None:
        check_ranges(self, "loss")


@dataclass(frozen=True, kw_only=True, slots=True)
class FusionConfig:
    """From instances and semantics to one panoptic map (section 3.4)."""

    score_threshold: Share = 0.5
    """Instances with a lower score are not painted."""
    overlap_threshold: Share = 0.5
    """An instance is dropped when more than this share of it is already occupied."""
    stuff_area: Annotated[int, Range(at_least=0, below=2**31)] = 4096
    """Stuff categories covering fewer pixels of the image become void. COCO 4096, Cityscapes 2048; choose it to suit
    the size of your images."""
    relations: tuple[tuple[str, str], ...] = ()
    """Pairs (over, under) of thing names, such as ("tie", "person"): an instance of the first is painted over those of
    the second, and not crowded out by them, whatever their scores."""

    def __post_init__(self) -> None:
        check_ranges(self, "fusion")


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """How images are resized and augmented before the network sees them."""

    short_sides: tuple[InputSide, ...] = (600,)
    """Length of the shorter side in pixels, drawn per sample in training; the last one is used in evaluation."""
    max_size: InputSide = 1000
    """Limit of the longer side in pixels."""
    scale: tuple[Factor, Factor] = (1.0, 1.0)
    """Range of an extra random factor on the size, in training: (0.1, 2.0) with a `crop` is large-scale jitter."""
    scale_draw: Literal["log_uniform", "uniform"] = "log_uniform"
    """How the factor is drawn: halved as often as doubled, or (large-scale jitter) evenly over the range."""
    crop: tuple[Side, Side] | None = None
    """(height, width) of a random crop in training, padded where the image is smaller."""
    flip: bool = True
    """Mirror half of the training samples."""
    color: Share = 0.0
    """Strength of random brightness, contrast, saturation (± this share) and hue (a quarter of it)."""
    copy_paste: Share = 0.0
    """Chance of a training image to get things of another image of its step pasted over it."""
    test_scales: tuple[Factor, ...] = (1.0,)
    """Multi-scale testing: factors on the size in evaluation; their predictions are merged before fusion."""
    test_flip: bool = False
    """Also test every scale mirrored."""

    def __post_init__(self) -> None:
        check_ranges(self, "augment")
        check(len(self.short_sides) > 0, "augment.short_sides", self.short_sides, "give at least one size")
        check(self.scale[0] <= self.scale[1], "augment.scale", self.scale, "give (low, high) with low <= high")
        check(len(self.test_scales) > 0, "augment.test_scales", self.test_scales, "give at least one factor")
