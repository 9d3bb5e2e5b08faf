"""Named runs. A preset is a function that returns a whole configuration; the command line only overrides it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

from aunet.config import (
    AttentionConfig,
    AugmentConfig,
    AUNetConfig,
    BackboneConfig,
    BackgroundConfig,
    ForegroundConfig,
    FusionConfig,
    LossWeights,
    RPNConfig,
)
from pipelines.config import DataConfig, RegisterConfig, RunConfig, ShapesConfig, SplitConfig, TrainConfig


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
    )


def camvid_small() -> RunConfig:
    """CamVid streets from scratch, a small network, under 45 CPU minutes on two cores."""
    return RunConfig(
        name="camvid_small",
        data=DataConfig(root=_sample("camvid_panoptic"), train=_camvid("train"), val=_camvid("val"), rows_per_shard=64),
        model=small_network(things_each=True, hard_pixels=0.3),
        augment=AugmentConfig(short_sides=(360,), max_size=480, scale=(0.45, 1.3), crop=(192, 256), color=0.7),
        loss=LossWeights(semantic=1.0),
        fusion=FusionConfig(stuff_area=800),
        train=from_scratch(epochs=50, batch_size=16, ema=0.998, weight_decay=0.03),
        register=RegisterConfig(model_name="aunet-camvid"),
    )


def coco_r50() -> RunConfig:
    """MS-COCO as in the paper: ResNet-50, short side 600, 18 epochs on 8 GPUs."""
    return RunConfig(
        name="coco_r50",
        data=DataConfig(root=os.environ.get("AUNET_COCO", "data/coco")),
        register=RegisterConfig(model_name="aunet-coco"),
        model=AUNetConfig(backbone=BackboneConfig(weights="IMAGENET1K_V1")),
        fusion=FusionConfig(relations=(("tie", "person"),)),
    )


def coco_r101() -> RunConfig:
    """MS-COCO as in the paper: ResNet-101."""
    return _with_backbone(coco_r50(), "coco_r101", "resnet101")


def coco_r152() -> RunConfig:
    """MS-COCO as in the paper: ResNet-152 (the paper takes one image per GPU: --train.batch_size 8)."""
    return _with_backbone(coco_r50(), "coco_r152", "resnet152")


def cityscapes_r50() -> RunConfig:
    """Cityscapes as in the paper: ResNet-50, 512×1024 crops, all 19 labels in the background branch, MAM off."""
    return RunConfig(
        name="cityscapes_r50",
        register=RegisterConfig(model_name="aunet-cityscapes"),
        data=DataConfig(
            root=os.environ.get("AUNET_CITYSCAPES", "data/cityscapes"),
            train=_cityscapes("train"),
            val=_cityscapes("val"),
        ),
        model=AUNetConfig(
            backbone=BackboneConfig(weights="IMAGENET1K_V1"),
            background=BackgroundConfig(thing_labels="each"),
            attention=AttentionConfig(mam=False),
        ),
        augment=AugmentConfig(short_sides=(1024,), max_size=2048, scale=(0.5, 2.0), crop=(512, 1024)),
        loss=LossWeights(box=0.75, semantic=1.0),
        fusion=FusionConfig(stuff_area=2048),
        train=TrainConfig(epochs=100, lr=0.01, milestones=(68, 88)),
    )


def cityscapes_r101() -> RunConfig:
    """Cityscapes as in the paper: ResNet-101."""
    return _with_backbone(cityscapes_r50(), "cityscapes_r101", "resnet101")


def coco_overfit() -> RunConfig:
    """Four COCO images by heart, 133 categories: shows that the whole pipeline can learn real annotations."""
    split = SplitConfig(
        images="train2017",
        panoptic_json="annotations/panoptic_train2017.json",
        panoptic_dir="annotations/panoptic_train2017",
        image_ids=(17914, 29286, 138805, 184101),
    )
    return _overfit("coco_overfit", split, batch_size=4)


def coco_overfit_val() -> RunConfig:
    """The three official images of the COCO sample by heart, crowds included."""
    split = SplitConfig(
        images="val2017",
        panoptic_json="annotations/panoptic_val2017.json",
        panoptic_dir="annotations/panoptic_val2017",
    )
    return _overfit("coco_overfit_val", split, batch_size=3)


def small_network(
    *, norm: Literal["bn", "gn"] = "bn", things_each: bool = False, hard_pixels: float = 1.0, smallest_anchor: int = 12
) -> AUNetConfig:
    """ResNet-18 with 64 channels, group norm in the branches: learns from scratch on a CPU."""
    return AUNetConfig(
        backbone=BackboneConfig(name="resnet18", norm=norm, trainable_stages=5, fpn_channels=64),
        rpn=RPNConfig(
            anchor_sizes=tuple(smallest_anchor * 2**level for level in range(5)),
            num_samples=64,
            pre_nms_top_n=(250, 250),
            post_nms_top_n=(200, 200),
        ),
        foreground=ForegroundConfig(num_samples=48, box_channels=256, mask_convs=2, mask_channels=64),
        background=BackgroundConfig(
            channels=64, thing_labels="each" if things_each else "one", hard_pixels=hard_pixels
        ),
        attention=AttentionConfig(channels=32, normalize="coverage"),
    )


def from_scratch(
    *, epochs: int, batch_size: int, ema: float, num_workers: int = 2, weight_decay: float = 0.01
) -> TrainConfig:
    """AdamW, flat then cosine, averaged weights, on CPU."""
    return TrainConfig(
        num_workers=num_workers,
        use_gpu=False,
        batch_size=batch_size,
        epochs=epochs,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=weight_decay,
        schedule="flat_cosine",
        warmup_steps=100,
        warmup_factor=0.01,
        clip_norm=5.0,
        ema=ema,
        checkpoint_every=5,
    )


def _overfit(name: str, split: SplitConfig, batch_size: int) -> RunConfig:
    return RunConfig(
        name=name,
        data=DataConfig(root=_sample("coco_panoptic_mini"), train=split, val=split),
        model=small_network(norm="gn", smallest_anchor=16),
        augment=AugmentConfig(short_sides=(256,), max_size=352, flip=False),
        fusion=FusionConfig(stuff_area=64),
        loss=LossWeights(semantic=1.0),
        train=from_scratch(epochs=400, batch_size=batch_size, ema=0.98, num_workers=1),
        register=RegisterConfig(model_name="aunet-overfit"),
    )


def _with_backbone(config: RunConfig, name: str, backbone: str) -> RunConfig:
    model = replace(config.model, backbone=replace(config.model.backbone, name=backbone))  # type: ignore[arg-type]
    return replace(config, name=name, model=model)


def _sample(folder: str) -> str:
    return os.path.join(os.environ.get("AUNET_SAMPLE_DATA", "data"), folder)


def _camvid(split: str) -> SplitConfig:
    return SplitConfig(
        images=split,
        panoptic_json=f"annotations/panoptic_{split}.json",
        panoptic_dir=f"annotations/panoptic_{split}",
    )


def _cityscapes(split: str) -> SplitConfig:
    return SplitConfig(images=f"leftImg8bit/{split}", instance_ids=f"gtFine/{split}")
