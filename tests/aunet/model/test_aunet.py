"""The network as a whole: losses, gradients, predictions, for every row of Table 1."""

from __future__ import annotations

import pytest
import torch

from aunet.categories import Categories, Category
from aunet.config import LossWeights
from aunet.losses import Losses
from aunet.model import AUNet, Output, build_model, merge_views, mirror, to_predictions
from tests.tiny import CATEGORIES, TINY, make_batch, with_attention

ROWS = {
    "e2e": dict(pam=False, mam=False, reweight=False),
    "pam": dict(mam=False, reweight=False),
    "pam_r": dict(mam=False),
    "mam": dict(pam=False, reweight=False),
    "mam_r": dict(pam=False),
    "aunet": dict(),
    "aunet_14": dict(mask_size=14, normalize=None),
}
BOXES = [[[8, 8, 40, 40], [50, 10, 90, 60]], []]


def losses_of(model: AUNet, boxes: list[list[list[int]]]) -> Losses:
    torch.manual_seed(0)
    losses = model.train()(make_batch(boxes))
    assert isinstance(losses, Losses)
    return losses


def build(**attention: object) -> AUNet:
    torch.manual_seed(0)
    return build_model(with_attention(TINY, **attention), CATEGORIES)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("boxes", [BOXES, [[], []]], ids=["things", "no things"])
def test_every_parameter_gets_a_gradient(row: str, boxes: list) -> None:
    model = build(**ROWS[row])
    losses = losses_of(model, boxes)
    assert all(torch.isfinite(value) for value in losses)
    losses.total(LossWeights()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("row", ["aunet", "aunet_14"])
def test_predictions_have_the_size_of_the_original(row: str) -> None:
    model = build(**ROWS[row]).eval()
    batch = make_batch(BOXES)
    batch.image_sizes[1] = (60, 80)
    with torch.no_grad():
        output = model(batch)
    assert isinstance(output, Output)
    predictions = to_predictions(output, (64, 96), [(64, 96), (60, 80)], [(128, 192), (30, 40)])
    for prediction, size in zip(predictions, [(128, 192), (30, 40)], strict=True):
        detections = prediction.detections
        assert prediction.semantic_logits.shape == (CATEGORIES.num_semantic("one"), *size)
        assert detections.masks.shape == (len(detections.boxes), *size)
        assert detections.masks.dtype == torch.bool
        assert (detections.scores.diff() <= 0).all()
        assert (detections.boxes[:, 2] <= size[1] + 1e-3).all()
        assert (detections.boxes[:, 3] <= size[0] + 1e-3).all()


HEADS = {"pam": "rpn.head.conv.0.weight", "mam": "foreground.mask_head.0.0.weight"}
"""First layer of the head that each attention connects to the semantic loss."""


def assert_the_semantic_loss_reaches(model: AUNet, parameter: str) -> None:
    losses_of(model, BOXES).semantic.backward()
    gradient = model.get_parameter(parameter).grad
    assert gradient is not None and gradient.abs().sum() > 0


def cut(module: torch.nn.Module) -> None:
    """A connection that carries values forward and no gradient back."""
    module.register_forward_pre_hook(lambda _, given: (given[0], *(t if t is None else t.detach() for t in given[1:])))


@pytest.mark.parametrize("row", HEADS)
def test_the_semantic_loss_reaches_the_heads_through_attention(row: str) -> None:
    """The paper's claim: attention lets semantic supervision train the foreground."""
    assert_the_semantic_loss_reaches(build(**ROWS[row]), HEADS[row])
    assert_the_semantic_loss_reaches(build(), HEADS[row])


@pytest.mark.parametrize("row", HEADS)
def test_it_does_not_when_the_path_is_cut(row: str) -> None:
    model = build(**ROWS[row])
    for connection in model.background.pam if row == "pam" else [model.background.mam]:
        assert connection is not None
        cut(connection)
    with pytest.raises(AssertionError):
        assert_the_semantic_loss_reaches(model, HEADS[row])


@pytest.mark.parametrize("row", ["e2e", "pam", "mam"])
def test_no_other_path_reaches_them(row: str) -> None:
    for other in set(HEADS) - {row}:
        with pytest.raises(AssertionError):
            assert_the_semantic_loss_reaches(build(**ROWS[row]), HEADS[other])


def test_a_batch_of_void_has_no_semantic_loss() -> None:
    model = build().train()
    batch = make_batch([[], []])
    for target in batch.targets:
        target["semantic"].fill_(-1)
    losses = model(batch)
    assert isinstance(losses, Losses)
    assert losses.semantic == 0
    losses.semantic.backward()


@pytest.mark.parametrize("thing", [True, False], ids=["no stuff", "no things"])
def test_one_kind_of_category_alone(thing: bool) -> None:
    categories = Categories((Category(id=1, name="only", is_thing=thing),))
    model = build_model(TINY, categories)
    batch = make_batch([[], []])
    for target in batch.targets:
        target["semantic"].clamp_(max=categories.num_semantic("one") - 1)
    assert all(torch.isfinite(v) for v in model.train()(batch))
    with torch.no_grad():
        output = model.eval()(batch)
    assert len(to_predictions(output, (64, 96), [(64, 96)] * 2, [(64, 96)] * 2)) == 2


UNUSUAL = {
    "nothing": [],
    "one pixel": [[10, 10, 11, 11]],
    "one row": [[0, 20, 96, 21]],
    "whole image": [[0, 0, 96, 64]],
    "300 small things": [[x, y, x + 3, y + 3] for x in range(0, 90, 6) for y in range(0, 60, 3)],
}


@pytest.mark.usefixtures("plain_fp16")
@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16], ids=["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("void", [False, True], ids=["labelled", "all void"])
@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_images_train(case: str, void: bool, precision: torch.dtype | None) -> None:
    """Forward and back: finite losses, finite gradients, for every parameter."""
    boxes = UNUSUAL[case]
    assert len(boxes) in (0, 1, 300)
    model, batch = build().train(), make_batch([boxes, boxes])
    if void:
        for target in batch.targets:
            target["semantic"].fill_(-1)
    torch.manual_seed(0)
    with torch.autocast("cpu", precision, enabled=precision is not None):
        losses = model(batch)
    assert all(torch.isfinite(value) for value in losses)
    losses.total(LossWeights()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()] == []


def test_same_seed_same_losses() -> None:
    assert losses_of(build(), BOXES) == losses_of(build(), BOXES)


def test_several_views_become_one() -> None:
    """Mirroring twice changes nothing, and a view merged with its equals stays itself."""
    model = build().eval()
    batch = make_batch(BOXES[:1])
    with torch.no_grad():
        prediction = to_predictions(model(batch), (64, 96), [(64, 96)], [(64, 96)])[0]
    back = mirror(mirror(prediction))
    torch.testing.assert_close(back.detections.boxes, prediction.detections.boxes)
    assert torch.equal(back.detections.masks, prediction.detections.masks)
    merged = merge_views([prediction, back], nms_threshold=0.5, max_detections=100)
    torch.testing.assert_close(merged.detections.scores, prediction.detections.scores)
    torch.testing.assert_close(
        merged.semantic_logits.softmax(0), prediction.semantic_logits.softmax(0), atol=1e-6, rtol=1e-5
    )
