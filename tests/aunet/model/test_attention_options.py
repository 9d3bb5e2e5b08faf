"""Options of the attentions: how they start, what they write, and the controls that stand in their place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from aunet.config import AUNetConfig
from aunet.errors import InputError
from aunet.model import build_model
from aunet.model.attention import AttentionForm, BackgroundReweight, MaskAttention, ProposalAttention
from aunet.model.initialization import seeded
from aunet.model.levels import LEVELS
from pipelines.presets import PRESETS
from tests.tiny import CATEGORIES, TINY, make_batch, with_attention


def test_reweight_starts_as_the_identity_and_can_learn() -> None:
    torch.manual_seed(0)
    semantic = torch.randn(2, 16, 5, 7, requires_grad=True)
    module = BackgroundReweight(16, identity=True)
    assert torch.equal(module(semantic), semantic)
    module(semantic).square().sum().backward()
    assert module.norm.weight.grad is not None and module.norm.weight.grad.abs().min() > 0
    paper = BackgroundReweight(16, identity=False)(semantic) / semantic
    assert 0.05 < paper.min() and paper.max() < 0.95 and paper.std() > 0.1


def test_centered_scores_have_a_mean_of_zero() -> None:
    torch.manual_seed(0)
    module: Any = ProposalAttention(6, 16, AttentionForm(5, centered=True)).double()
    torch.nn.init.constant_(module.score.weight, 0.3)
    torch.nn.init.constant_(module.score.bias, 50)
    _, weights = module(torch.randn(2, 16, 8, 9).double(), torch.randn(2, 6, 8, 9).double())
    scores = (1 / weights - 1).log()
    assert scores.mean((1, 2, 3)).abs().max() < 1e-9 < scores.std(), "a constant, such as the bias, has no effect"


@pytest.mark.parametrize("written", ["all", "confident", "by_score"])
def test_what_is_written_of_detections(written: Any) -> None:
    torch.manual_seed(0)
    module = MaskAttention(4, 16, AttentionForm(5), coverage=True, written=written)
    torch.nn.init.normal_(module.score.weight)
    semantic, masks = torch.randn(1, 16, 16, 16), torch.rand(2, 4, 28, 28)
    rois = torch.tensor([[0, 0, 0, 30, 30], [0, 30, 30, 64, 64]], dtype=torch.float32)
    (known, least) = (module(semantic, masks, rois, scores)[1] for scores in (None, torch.tensor([0.9, 0.4])))
    first, second = (slice(0, 7), slice(0, 7)), (slice(9, 16), slice(9, 16))
    nothing = module(semantic, masks[:0], rois[:0])[1]
    changed = [not torch.allclose(known[0, 0][corner], least[0, 0][corner]) for corner in (first, second)]
    assert changed == {"all": [False, False], "confident": [False, True], "by_score": [True, True]}[written]
    assert torch.equal(least[0, 0][second], nothing[0, 0][second]) == (written == "confident")


def test_gain_stands_in_place_of_attention() -> None:
    with pytest.raises(InputError, match=r"model.attention.gain = True: it stands in place of attention; switch"):
        with_attention(TINY, gain=True)
    torch.manual_seed(0)
    gain = build_model(with_attention(TINY, pam=False, mam=False, gain=True), CATEGORIES).train()
    torch.manual_seed(0)
    e2e = build_model(with_attention(TINY, pam=False, mam=False), CATEGORIES).train()
    assert {n for n in gain.state_dict() if n not in e2e.state_dict()} == {"background.gains"}
    features = [torch.rand(1, 16, 16 >> n, 24 >> n) for n in range(4)]
    nothing = torch.zeros(0, 16, 28, 28), torch.zeros(0, 5)
    torch.testing.assert_close(
        gain.background(features, features, *nothing).logits,
        e2e.background([1.0 * f for f in features], features, *nothing).logits * 2.25,
    )
    gain(make_batch([[[8, 8, 40, 40]]])).semantic.backward()
    gradient = gain.get_parameter("background.gains").grad
    assert gradient is not None and gradient.shape == (5,) and bool((gradient != 0).all())


def test_a_final_convolution_adds_a_nonlinearity_and_nothing_else() -> None:
    with_conv = replace(TINY, background=replace(TINY.background, final_conv=True))
    torch.manual_seed(0)
    states = [build_model(config, CATEGORIES).state_dict() for config in (TINY, with_conv)]
    added = states[1].keys() - states[0].keys()
    assert {name.rsplit(".", 2)[0] for name in added} == {"background.final"}
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def forms() -> dict[str, AUNetConfig]:
    """The network of every preset with attention, each background branch once."""
    chosen: dict[Any, tuple[str, AUNetConfig]] = {}
    for name, preset in PRESETS.items():
        config = preset().model
        key = (config.attention, config.background, config.foreground.mask_channels, config.backbone.fpn_channels)
        if config.attention.pam or config.attention.mam:
            chosen.setdefault(key, (name, config))
    return dict(chosen.values())


def positive(*shape: int) -> Tensor:
    """Features as they come out of a normalisation and a ReLU."""
    return torch.randn(*shape).relu()


@pytest.mark.parametrize("name", forms())
def test_every_preset_starts_with_mild_attention(name: str) -> None:
    """At full width and size: M' near one half everywhere, and what MAM writes no larger than what it is given."""
    config, side, stride = forms()[name], 608, 4
    torch.manual_seed(0)
    with torch.device("meta"):
        model = build_model(replace(config, backbone=replace(config.backbone, weights=None, norm="bn")), CATEGORIES)
    attention, channels = config.attention, config.backbone.fpn_channels
    form = AttentionForm(attention.channels, attention.reweight, attention.reweight_start == "identity")
    for number in range(len(LEVELS)) if attention.pam else ():
        semantic = positive(1, config.background.channels, (side >> number) // stride, (side >> number) // stride)
        pam = seeded(f"{number}", lambda: ProposalAttention(channels, config.background.channels, form))
        result, weights = pam(semantic, positive(1, channels, *semantic.shape[2:]))
        assert 0.4 < weights.min() and weights.max() < 0.6 and result.max() < 1.7 * semantic.max()
    if attention.mam:
        given = model.background.mam
        assert given is not None and given.coverage
        mam = MaskAttention(config.foreground.mask_channels, config.background.channels, form, coverage=given.coverage)
        sides = 2 ** (3 + 6 * torch.rand(60, 1))
        corners = torch.rand(60, 2) * (side - sides)
        rois = torch.cat([torch.zeros(60, 1), corners, corners + sides], 1)
        rois = rois.repeat_interleave(5, 0)  # several proposals for each thing, as in training
        masks = positive(len(rois), config.foreground.mask_channels, 28, 28)
        size = (1, side // stride, side // stride)
        assert mam.write(masks[:, :8], rois, size).abs().max() < 1.5 * masks.max()
        semantic = positive(1, config.background.channels, *size[1:])
        result, weights = mam(semantic, masks, rois)
        assert 0.4 < weights.min() and weights.max() < 0.6 and result.max() < 1.7 * semantic.max()
