"""Fusion: hand-computable cases first, then equivalence with a plain loop over instances, then the edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from aunet.categories import Categories, Category, ThingLabels
from aunet.config import FusionConfig
from aunet.errors import InputError
from aunet.fusion import best_labels, fuse_panoptic
from aunet.structures import Detections, PanopticMap
from tests.published_fusion import published_fusion

ROAD, SKY, PERSON, TIE, CAR = 10, 20, 1, 2, 30
CATEGORIES = Categories(
    tuple(
        Category(id=i, name=name, is_thing=thing)
        for i, name, thing in [
            (ROAD, "road", False),
            (SKY, "sky", False),
            (PERSON, "person", True),
            (TIE, "tie", True),
            (CAR, "car", True),
        ]
    )
)
NO_LIMIT = FusionConfig(score_threshold=0.5, overlap_threshold=0.5, stuff_area=0)


def detections(*instances: tuple[float, int, str]) -> Detections:
    """Instances as (score, category_id, picture); a picture has rows separated by "/", "#" belongs to the mask."""
    masks = [[[c == "#" for c in row] for row in picture.split("/")] for _, _, picture in instances]
    return Detections(
        boxes=torch.zeros(len(instances), 4),
        scores=torch.tensor([score for score, _, _ in instances]),
        labels=torch.tensor([CATEGORIES.detector_labels[c] for _, c, _ in instances], dtype=torch.int64),
        masks=torch.tensor(masks, dtype=torch.bool),
    )


def logits(labels: list[list[int]], channels: int = 3) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(labels), channels).permute(2, 0, 1).float()


def categories_of(panoptic: PanopticMap) -> list[list[int]]:
    lookup = {0: 0} | {s.id: s.category_id for s in panoptic.segments}
    return [[lookup[i] for i in row] for row in panoptic.ids.tolist()]


def test_things_come_by_score_and_stuff_fills_the_rest() -> None:
    instances = detections((0.6, CAR, "##../##.."), (0.9, PERSON, ".#../.#.."))
    panoptic = fuse_panoptic(instances, logits([[1, 1, 1, 2], [1, 1, 0, 2]]), CATEGORIES, NO_LIMIT, "one")
    assert panoptic.ids.tolist() == [[2, 1, 3, 4], [2, 1, 0, 4]]
    assert panoptic.ids.dtype == torch.int32
    assert [(s.category_id, s.is_thing, s.area) for s in panoptic.segments] == [
        (PERSON, True, 2),
        (CAR, True, 2),
        (ROAD, False, 1),
        (SKY, False, 2),
    ]
    assert [s.score for s in panoptic.segments] == [pytest.approx(0.9), pytest.approx(0.6), None, None]


def test_an_instance_with_exactly_the_overlap_share_taken_is_kept_and_one_with_more_is_dropped() -> None:
    first = (0.9, PERSON, "##....")
    kept = fuse_panoptic(detections(first, (0.8, CAR, ".##...")), logits([[0] * 6]), CATEGORIES, NO_LIMIT, "one")
    assert categories_of(kept) == [[PERSON, PERSON, CAR, 0, 0, 0]]
    dropped = fuse_panoptic(detections(first, (0.8, CAR, "###...")), logits([[0] * 6]), CATEGORIES, NO_LIMIT, "one")
    assert categories_of(dropped) == [[PERSON, PERSON, 0, 0, 0, 0]]


def test_a_dropped_instance_takes_nothing() -> None:
    instances = detections((0.9, PERSON, "##...."), (0.8, CAR, "###..."), (0.7, CAR, "..##.."))
    panoptic = fuse_panoptic(instances, logits([[0] * 6]), CATEGORIES, NO_LIMIT, "one")
    assert categories_of(panoptic) == [[PERSON, PERSON, CAR, CAR, 0, 0]]


def test_instances_below_the_score_threshold_are_left_out() -> None:
    instances = detections((0.5, CAR, "#."), (0.49, CAR, ".#"))
    assert fuse_panoptic(instances, logits([[0, 0]]), CATEGORIES, NO_LIMIT, "one").ids.tolist() == [[1, 0]]


def test_small_stuff_becomes_void_counted_after_the_things() -> None:
    config = FusionConfig(stuff_area=2)
    panoptic = fuse_panoptic(detections((0.9, CAR, "#...")), logits([[1, 1, 2, 2]]), CATEGORIES, config, "one")
    assert categories_of(panoptic) == [[CAR, 0, SKY, SKY]]


def test_semantic_label_zero_stays_when_it_is_stuff() -> None:
    stuff_only = Categories((Category(id=7, name="road", is_thing=False), Category(id=8, name="sky", is_thing=False)))
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1, 3))
    panoptic = fuse_panoptic(none, logits([[0, 0, 1]], 2), stuff_only, NO_LIMIT, "each")
    assert categories_of(panoptic) == [[7, 7, 8]]


def test_no_stuff_and_no_instances_is_all_void() -> None:
    things_only = Categories((Category(id=7, name="car", is_thing=True),))
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1, 3))
    panoptic = fuse_panoptic(none, torch.zeros(1, 1, 3), things_only, NO_LIMIT, "one")
    assert panoptic.ids.tolist() == [[0, 0, 0]] and panoptic.segments == []


def test_a_tie_lies_over_the_person_who_wears_it() -> None:
    instances = detections((0.9, PERSON, "####"), (0.6, TIE, ".#.."))
    semantic = logits([[0] * 4])
    assert categories_of(fuse_panoptic(instances, semantic, CATEGORIES, NO_LIMIT, "one")) == [[PERSON] * 4]
    config = FusionConfig(stuff_area=0, relations=(("tie", "person"),))
    over = fuse_panoptic(instances, semantic, CATEGORIES, config, "one")
    assert categories_of(over) == [[PERSON, TIE, PERSON, PERSON]]
    assert [s.area for s in over.segments] == [3, 1]


def test_an_instance_painted_over_entirely_leaves_no_segment() -> None:
    config = FusionConfig(stuff_area=0, relations=(("tie", "person"),))
    instances = detections((0.9, PERSON, ".#.."), (0.6, TIE, ".##."), (0.5, CAR, "...#"))
    panoptic = fuse_panoptic(instances, logits([[0] * 4]), CATEGORIES, config, "one")
    assert panoptic.ids.tolist() == [[0, 1, 1, 2]]
    assert [s.category_id for s in panoptic.segments] == [TIE, CAR]


@pytest.mark.parametrize(
    ("relations", "message"),
    [
        ((("ties", "person"),), '"ties" is not a thing category; there are person, tie, car'),
        ((("road", "car"),), '"road" is not a thing category'),
        ((("tie", "person"), ("person", "tie")), "contradicts the reverse pair"),
        ((("tie", "tie"),), "contradicts the reverse pair"),
    ],
)
def test_impossible_relations_are_refused(relations: tuple[tuple[str, str], ...], message: str) -> None:
    config = FusionConfig(relations=relations)
    with pytest.raises(InputError, match=message):
        fuse_panoptic(detections((0.9, CAR, "#")), logits([[0]]), CATEGORIES, config, "one")


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"semantic_logits must have shape \[5, H, W\], got \[3, 1, 1\]"):
        fuse_panoptic(detections((0.9, CAR, "#")), logits([[0]]), CATEGORIES, NO_LIMIT, "each")
    with pytest.raises(ValueError, match=r"masks must have shape \[1, 1, 2\], got \[1, 1, 1\]"):
        fuse_panoptic(detections((0.9, CAR, "#")), logits([[0, 0]]), CATEGORIES, NO_LIMIT, "one")


@pytest.mark.gpu
def test_the_map_comes_back_on_the_device_of_the_logits() -> None:
    instances = detections((0.6, CAR, "##.."), (0.9, PERSON, ".#.."))
    semantic = logits([[1, 1, 1, 2]])
    on_device = Detections(*(t.cuda() for t in (instances.boxes, instances.scores, instances.labels, instances.masks)))
    on_gpu = fuse_panoptic(on_device, semantic.cuda(), CATEGORIES, NO_LIMIT, "one")
    on_cpu = fuse_panoptic(instances, semantic, CATEGORIES, NO_LIMIT, "one")
    assert on_gpu.ids.is_cuda and torch.equal(on_gpu.ids.cpu(), on_cpu.ids) and on_gpu.segments == on_cpu.segments


# --------------------------------------------------------------------------------------------------------------------
# The readable twin: one pass over the whole image per instance, sets of pixels, nothing clever.


def fuse_slowly(
    instances: Detections, semantic: torch.Tensor, config: FusionConfig, thing_labels: ThingLabels
) -> list[list[tuple[int, int] | None]]:
    """Per pixel: None for void, (category_id, number of the instance, or -1 for stuff)."""
    height, width = semantic.shape[1:]
    owner: dict[tuple[int, int], tuple[int, int]] = {}
    names = {c.id: c.name for c in CATEGORIES.entries}
    scores = instances.scores.tolist()
    for k in sorted(range(len(scores)), key=lambda k: -scores[k]):
        if scores[k] < config.score_threshold:
            continue
        category = CATEGORIES.things[int(instances.labels[k]) - 1].id
        mask = {(y, x) for y in range(height) for x in range(width) if instances.masks[k, y, x]}
        taken = {p for p in mask if p in owner and (names[category], names[owner[p][0]]) not in config.relations}
        if mask and not len(taken) / len(mask) > config.overlap_threshold:
            owner |= dict.fromkeys(mask - taken, (category, k))
    labels = semantic.argmax(0).tolist()
    for category in CATEGORIES.stuff:
        label = CATEGORIES.semantic_labels(thing_labels)[category.id]
        rest = {(y, x) for y in range(height) for x in range(width) if labels[y][x] == label and (y, x) not in owner}
        if len(rest) >= config.stuff_area:
            owner |= dict.fromkeys(rest, (category.id, -1))
    return [[owner.get((y, x)) for x in range(width)] for y in range(height)]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Detections, torch.Tensor, FusionConfig, ThingLabels]:
    height, width, count = draw(st.integers(1, 6)), draw(st.integers(1, 7)), draw(st.integers(0, 6))
    thing_labels: ThingLabels = draw(st.sampled_from(["one", "each"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    masks = np.zeros((count, height, width), bool)
    for mask in masks:
        (y1, y2), (x1, x2) = sorted(rng.integers(0, height + 1, 2)), sorted(rng.integers(0, width + 1, 2))
        mask[y1:y2, x1:x2] = rng.random((y2 - y1, x2 - x1)) < draw(st.sampled_from([0.6, 1.0]))
    scores = rng.choice([0.3, 0.5, 0.7, 0.9], count).astype(np.float32)
    instances = Detections(
        torch.zeros(count, 4),
        torch.from_numpy(scores),
        torch.from_numpy(rng.integers(1, 4, count)),
        torch.from_numpy(masks),
    )
    channels = CATEGORIES.num_semantic(thing_labels)
    order = np.argsort(rng.random((channels, height, width)), axis=0)  # no two logits of a pixel are equal
    pairs = st.sampled_from([("tie", "person"), ("person", "car"), ("tie", "car")])
    config = FusionConfig(
        overlap_threshold=draw(st.sampled_from([0.0, 0.5, 1.0])),
        stuff_area=draw(st.sampled_from([0, 1, 4])),
        relations=tuple(draw(st.lists(pairs, max_size=2, unique=True))),
    )
    return instances, torch.from_numpy(order.astype(np.float32)), config, thing_labels


@settings(max_examples=300, deadline=None)
@given(scenes())
def test_same_as_the_plain_loop(scene: tuple[Detections, torch.Tensor, FusionConfig, ThingLabels]) -> None:
    instances, semantic, config, thing_labels = scene
    panoptic = fuse_panoptic(instances, semantic, CATEGORIES, config, thing_labels)
    expected = fuse_slowly(instances, semantic, config, thing_labels)
    ids = panoptic.ids.tolist()
    pairs = {
        (i, owner) for got, wanted in zip(ids, expected, strict=True) for i, owner in zip(got, wanted, strict=True)
    }
    by_id = {0: None} | {i: owner for i, owner in pairs if i}
    assert pairs == set(by_id.items()) & pairs, "two owners share an id"
    assert len({owner for _, owner in pairs}) == len(pairs), "an owner has two ids"
    assert [s.id for s in panoptic.segments] == list(range(1, len(panoptic.segments) + 1))
    for segment in panoptic.segments:
        owner = by_id[segment.id]
        assert owner is not None and owner[0] == segment.category_id
        assert segment.is_thing == (owner[1] >= 0) == CATEGORIES.by_id[segment.category_id].is_thing
        assert segment.area == sum(row.count(segment.id) for row in ids) > 0
        assert segment.score == (instances.scores[owner[1]].item() if segment.is_thing else None)


@settings(max_examples=300, deadline=None)
@given(scenes())
def test_same_as_the_published_loop(scene: tuple[Detections, torch.Tensor, FusionConfig, ThingLabels]) -> None:
    """Ids, order, categories, areas and scores; the published loop knows no relations."""
    instances, semantic, config, thing_labels = scene
    config = replace(config, relations=())
    panoptic = fuse_panoptic(instances, semantic, CATEGORIES, config, thing_labels)
    expected = published_fusion(instances, semantic.argmax(0), CATEGORIES, config, thing_labels)
    assert torch.equal(panoptic.ids, expected.ids) and panoptic.segments == expected.segments


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 300, 301), (133, 20, 30), (300, 20, 30)], ids=str)
def test_the_best_label_is_the_first_of_the_highest(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    drawn = torch.randint(-4, 4, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    first = (drawn == drawn.max(0).values).int().argmax(0)
    assert np.array_equal(best_labels(drawn), first.numpy())
