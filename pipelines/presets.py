"""Named runs. A preset is a function that returns a whole configuration; the command line only overrides it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

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
from pipelines.variants import TABLE_1, equal_things, multi_scale, plus, table_1_row, with_backbone


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
        train=TrainConfig(micro_batch_size=2),
    )


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
        train=TrainConfig(epochs=100, lr=0.01, milestones=(68, 88), micro_batch_size=2),
    )


def coco_r50_plus() -> RunConfig:
    """MS-COCO by a longer recipe of ours, ResNet-50: 36 epochs, short side 640 … 800; not trained so far.

    * Short sides 640, 672 … 800 (limit 1333), 800 in evaluation: the sizes at which Panoptic FPN and its successors are
      compared; the paper's 600 makes small things smaller.
    * 36 epochs: detectron2's Panoptic FPN goes from 39.4 PQ after 12 to 41.5 after 37.
    * Cosine: no milestones to place anew when the length changes, and the rate ends at zero, where the paper's second
      drop never acts.
    * Warm-up over 1000 steps: heads and attention start from scratch under a learning rate of 0.02.
    * No decay on norms and biases: their scales are no complexity that would have to be held down.
    * Averaged weights, 0.9998: about 5000 of 266,000 steps; less noise of the last batches in what is released.
    """
    sides = tuple(range(640, 801, 32))
    config = plus(coco_r50(), epochs=36, ema=0.9998, short_sides=sides, max_size=1333)
    return replace(config, name="coco_r50_plus")


def cityscapes_r50_plus() -> RunConfig:
    """Cityscapes by a longer recipe of ours, ResNet-50: 200 epochs, colour; not trained so far.

    Scales and crops stay the paper's: 0.5 … 2 is wider than 640 … 800 on COCO. 200 epochs: of 2975 images, 186 steps
    each. Colour jitter: all pictures come from one camera in fair weather. Averaged weights, 0.999: about 1000 of
    37,000 steps. Cosine, warm-up and decay as in coco_r50_plus, for the same reasons.
    """
    config = plus(cityscapes_r50(), epochs=200, ema=0.999, color=0.3)
    return replace(config, name="cityscapes_r50_plus")


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


def _variant(
    base: Callable[[], RunConfig], name: str, told: str, change: Callable[..., RunConfig], *given: Any, **named: Any
) -> Callable[[], RunConfig]:
    """The preset `name`: `base` after `change`, which gets `given` and `named`, too."""

    def preset() -> RunConfig:
        return replace(change(base(), *given, **named), name=name)

    preset.__name__ = preset.__qualname__ = name
    preset.__doc__ = told
    return preset


def _table_1(base: Callable[[], RunConfig]) -> Iterator[Callable[[], RunConfig]]:
    name = base.__name__
    for row, has in TABLE_1.items():
        yield _variant(base, f"{name}_{row}", f"{name} as Table 1's row {row}: {has}.", table_1_row, row)


coco_r101 = _variant(coco_r50, "coco_r101", "MS-COCO as in the paper: ResNet-101.", with_backbone, "resnet101")
coco_r152 = _variant(
    coco_r50, "coco_r152",
    "MS-COCO as in the paper: ResNet-152 (one image per GPU: --train.batch_size 8).",
    with_backbone, "resnet152",
)  # fmt: skip
coco_x152 = _variant(
    coco_r50, "coco_x152",
    "MS-COCO as in the paper: ResNeXt-152 64×4d, deformable and non-local; from scratch unless weights are given.",
    with_backbone, "resnext152_64x4d_dcn_nl", weights=None, norm="gn", trainable_stages=5,
)  # fmt: skip
coco_r101_ms, coco_r152_ms, coco_x152_ms = (
    _variant(base, f"{base.__name__}_ms", f"{base.__name__} tested at several scales and mirrored.", multi_scale)
    for base in (coco_r101, coco_r152, coco_x152)
)
(
    coco_r50_sep, coco_r50_e2e, coco_r50_pam, coco_r50_pam_r, coco_r50_mam, coco_r50_mam_r, coco_r50_aunet,
) = _table_1(coco_r50)  # fmt: skip
(
    camvid_small_sep, camvid_small_e2e, camvid_small_pam, camvid_small_pam_r, camvid_small_mam, camvid_small_mam_r,
    camvid_small_aunet,
) = _table_1(camvid_small)  # fmt: skip
cityscapes_r101 = _variant(
    cityscapes_r50, "cityscapes_r101", "Cityscapes as in the paper: ResNet-101.", with_backbone, "resnet101"
)
cityscapes_r50_equ = _variant(
    cityscapes_r50, "cityscapes_r50_equ",
    "Cityscapes as in the paper's row equ: all things as one category in the background branch.",
    equal_things,
)  # fmt: skip
