"""Named runs. A preset is a function that returns a whole configuration; the command line only overrides it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from aunet.config import (
    AttentionConfig,
    AugmentConfig,
    AUNetConfig,
    BackboneConfig,
    BackgroundConfig,
    FusionConfig,
    LossWeights,
)
from pipelines.settings.own_presets import with_own
from pipelines.settings.recipes import (
    beside_gpus,
    cityscapes_split,
    coco_split,
    from_scratch,
    laptop,
    lite0,
    overfit,
    sample_folder,
    small_network,
)
from pipelines.settings.run_config import DataConfig, RegisterConfig, RunConfig, ShapesConfig, TrainConfig
from pipelines.settings.variants import CONTROLS, TABLE_1, equal_things, multi_scale, plus, table_1_row, with_backbone


def shapes_smoke() -> RunConfig:
    """Generated scenes, a small network from scratch, minutes on two cores: what `make demo` runs."""
    return RunConfig(
        name="shapes_smoke",
        data=DataConfig(shapes=ShapesConfig(num_train=512, num_val=64, height=128, width=160)),
        model=small_network(),
        augment=AugmentConfig(short_sides=(128,), max_size=256, scale=(0.9, 1.25), crop=(128, 160), color=0.2),
        loss=LossWeights(semantic=0.5),
        fusion=FusionConfig(stuff_area=64),
        train=from_scratch(epochs=12, batch_size=16, ema=0.99),
        register=RegisterConfig(model_name="aunet-shapes"),
        cluster=laptop(),
    )


def camvid_small() -> RunConfig:
    """CamVid streets from scratch, a small network, under 45 CPU minutes on two cores."""
    return RunConfig(
        name="camvid_small",
        data=DataConfig(
            root=sample_folder("camvid_panoptic"),
            train=coco_split("train", "train"),
            val=coco_split("val", "val"),
            rows_per_shard=64,
        ),
        model=small_network(things_each=True, hard_pixels=0.3),
        augment=AugmentConfig(short_sides=(360,), max_size=480, scale=(0.45, 1.3), crop=(192, 256), color=0.7),
        loss=LossWeights(semantic=1.0),
        fusion=FusionConfig(stuff_area=800),
        train=from_scratch(epochs=50, batch_size=16, ema=0.998, weight_decay=0.03),
        register=RegisterConfig(model_name="aunet-camvid"),
        cluster=laptop(),
    )


def shapes_lite0() -> RunConfig:
    """shapes_smoke with EfficientNet-Lite0 and its ImageNet weights, from the extra `samples`."""
    return with_backbone(shapes_smoke(), "shapes_lite0", lite0(), backbone_lr_factor=0.5)


def shapes_ambiguous() -> RunConfig:
    """shapes_smoke on scenes in which only the things on it tell which kind of ground is which."""
    base = shapes_smoke()
    data = DataConfig(shapes=ShapesConfig(num_train=512, num_val=64, height=128, width=160, kind="ambiguous"))
    return replace(base, name="shapes_ambiguous", data=data, register=RegisterConfig(model_name="aunet-ambiguous"))


def camvid_lite0() -> RunConfig:
    """camvid_small with EfficientNet-Lite0 and its ImageNet weights, from the extra `samples`, under 45 CPU minutes.

    Its images are half as large again, for poles and signs; less jitter of colours, which those weights know. Scores as
    in mmdetection's Panoptic FPN; areas of stuff as in the paper, for the size of these images.
    """
    base = with_backbone(camvid_small(), "camvid_lite0", lite0(), epochs=30, lr=6e-4)
    augment = AugmentConfig(short_sides=(540,), max_size=720, scale=(0.4, 1.2), crop=(224, 288), color=0.4)
    return replace(base, augment=augment, fusion=FusionConfig(score_threshold=0.6, stuff_area=2048))


def camvid_lite0_uncertainty() -> RunConfig:
    """camvid_lite0 whose loss weights are learned (Kendall et al.), from equal ones on."""
    base = camvid_lite0()
    train = replace(base.train, loss_weighting="uncertainty")
    return replace(base, name="camvid_lite0_uncertainty", loss=LossWeights(semantic=1.0), train=train)


def coco_r50() -> RunConfig:
    """MS-COCO as in the paper: ResNet-50, short side 600, 18 epochs on 8 GPUs."""
    return RunConfig(
        name="coco_r50",
        data=DataConfig(root=os.environ.get("AUNET_COCO", "data/coco")),
        register=RegisterConfig(model_name="aunet-coco"),
        model=AUNetConfig(backbone=BackboneConfig(weights="IMAGENET1K_V1")),
        fusion=FusionConfig(relations=(("tie", "person"),)),
        train=TrainConfig(micro_batch_size=2),
        feed=beside_gpus(),
    )


def cityscapes_r50() -> RunConfig:
    """Cityscapes as in the paper: ResNet-50, 512×1024 crops, all 19 labels in the background branch, MAM off."""
    return RunConfig(
        name="cityscapes_r50",
        register=RegisterConfig(model_name="aunet-cityscapes"),
        data=DataConfig(
            root=os.environ.get("AUNET_CITYSCAPES", "data/cityscapes"),
            train=cityscapes_split("train"),
            val=cityscapes_split("val"),
        ),
        model=AUNetConfig(
            backbone=BackboneConfig(weights="IMAGENET1K_V1"),
            background=BackgroundConfig(thing_labels="each"),
            attention=AttentionConfig(mam=False),
        ),
        augment=AugmentConfig(short_sides=(1024,), max_size=2048, scale=(0.5, 2.0), crop=(512, 1024)),
        loss=LossWeights(box=0.75, semantic=1.0),
        fusion=FusionConfig(stuff_area=2048),
        train=TrainConfig(epochs=100, lr=0.01, milestones=(68, 88), micro_batch_size=2),
        feed=beside_gpus(),
    )


def coco_r50_plus() -> RunConfig:
    """MS-COCO by our own longer recipe, ResNet-50: 36 epochs, short side 640 … 800; not trained so far.

    * Short sides 640, 672 … 800 (limit 1333), 800 in evaluation: the sizes at which Panoptic FPN and its successors are
      compared; the paper's 600 makes small things smaller.
    * 36 epochs: detectron2's Panoptic FPN goes from 39.4 PQ after 12 to 41.5 after 37.
    * Cosine: no milestones to move when the length changes, and the rate ends at zero, where the paper's second drop
      never acts.
    * Warm-up over 1000 steps: heads and attention start from scratch under a learning rate of 0.02.
    * No decay on norms and biases: their scales add no complexity that would need a penalty.
    * Averaged weights, 0.9998: about 5000 of 266,000 steps; less noise of the last batches in what is released.
    """
    paper = coco_r50()
    augment = replace(paper.augment, short_sides=tuple(range(640, 801, 32)), max_size=1333)
    return plus(paper, epochs=36, ema=0.9998, augment=augment)


def cityscapes_r50_plus() -> RunConfig:
    """Cityscapes by our own longer recipe, ResNet-50: 200 epochs, colour; not trained so far.

    Scales and crops stay the paper's: 0.5 … 2 is wider than 640 … 800 on COCO. 200 epochs: with 2975 images, 186 steps
    each. Colour jitter: all pictures come from one camera in fair weather. Averaged weights, 0.999: about 1000 of
    37,000 steps. Cosine, warm-up and decay as in coco_r50_plus, for the same reasons.
    """
    paper = cityscapes_r50()
    return plus(paper, epochs=200, ema=0.999, augment=replace(paper.augment, color=0.3))


def coco_overfit() -> RunConfig:
    """Four COCO images by heart, 133 categories: shows that the whole pipeline can learn real annotations."""
    split = coco_split("train2017", "train2017", image_ids=(17914, 29286, 138805, 184101))
    return overfit("coco_overfit", split, batch_size=4)


def coco_overfit_val() -> RunConfig:
    """The three official images of the COCO sample by heart, crowds included."""
    return overfit("coco_overfit_val", coco_split("val2017", "val2017"), batch_size=3)


def coco_overfit_lite0() -> RunConfig:
    """coco_overfit with EfficientNet-Lite0 and its ImageNet weights, from the extra `samples`: half the steps."""
    return with_backbone(coco_overfit(), "coco_overfit_lite0", lite0(), epochs=200, warmup_steps=20)


def coco_r101() -> RunConfig:
    """MS-COCO as in the paper: ResNet-101."""
    return with_backbone(coco_r50(), "coco_r101", BackboneConfig(name="resnet101", weights="IMAGENET1K_V1"))


def coco_r152() -> RunConfig:
    """MS-COCO as in the paper: ResNet-152 (one image per GPU: --train.batch_size 8 --train.base_batch_size 16)."""
    return with_backbone(coco_r50(), "coco_r152", BackboneConfig(name="resnet152", weights="IMAGENET1K_V1"))


def coco_x152() -> RunConfig:
    """MS-COCO as in the paper: ResNeXt-152 64×4d, deformable and non-local; from scratch unless weights are given."""
    backbone = BackboneConfig(name="resnext152_64x4d_dcn_nl", norm="gn", trainable_stages=5)
    return with_backbone(coco_r50(), "coco_x152", backbone)


def coco_r101_ms() -> RunConfig:
    """coco_r101 tested at several scales and mirrored."""
    return multi_scale(coco_r101())


def coco_r152_ms() -> RunConfig:
    """coco_r152 tested at several scales and mirrored."""
    return multi_scale(coco_r152())


def coco_x152_ms() -> RunConfig:
    """coco_x152 tested at several scales and mirrored."""
    return multi_scale(coco_x152())


def cityscapes_r101() -> RunConfig:
    """Cityscapes as in the paper: ResNet-101."""
    return with_backbone(cityscapes_r50(), "cityscapes_r101", BackboneConfig(name="resnet101", weights="IMAGENET1K_V1"))


def cityscapes_r50_equ() -> RunConfig:
    """Cityscapes as in the paper's row equ: all things as one category in the background branch."""
    return equal_things(cityscapes_r50())


def _row(base: Callable[[], RunConfig], row: str, meaning: str) -> Callable[[], RunConfig]:
    """The preset that is a row of Table 1, or a control beside it."""

    def preset() -> RunConfig:
        return table_1_row(base(), row)

    preset.__name__ = preset.__qualname__ = f"{base.__name__}_{row}"
    preset.__doc__ = f"{base.__name__} as Table 1's row {row}: {meaning}."
    return preset


NAMED = (
    shapes_smoke,
    shapes_lite0,
    shapes_ambiguous,
    camvid_small,
    camvid_lite0,
    camvid_lite0_uncertainty,
    coco_r50,
    cityscapes_r50,
    coco_r50_plus,
    cityscapes_r50_plus,
    coco_overfit,
    coco_overfit_val,
    coco_overfit_lite0,
    coco_r101,
    coco_r152,
    coco_x152,
    coco_r101_ms,
    coco_r152_ms,
    coco_x152_ms,
    cityscapes_r101,
    cityscapes_r50_equ,
)
ROWS = tuple(
    _row(base, row, meaning) for base in (coco_r50, camvid_small) for row, meaning in (TABLE_1 | CONTROLS).items()
)
SHIPPED: dict[str, Callable[[], RunConfig]] = {function.__name__: function for function in (*NAMED, *ROWS)}
"""The presets of this file by their names."""
PRESETS = with_own(SHIPPED)
"""Every preset by its name, in the order in which help lists them; last, those of files `preset_NAME.py` beside it."""


def __getattr__(name: str) -> Callable[[], RunConfig]:
    """The rows of Table 1, such as `coco_r50_e2e`, are attributes of this module like the others."""
    if name not in PRESETS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return PRESETS[name]
