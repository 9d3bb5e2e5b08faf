"""Scenes in which figure tells background: the ground alone says nothing, the things on it say all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from aunet.data.ambiguous import CATEGORIES, KINDS_ON, make_scene
from aunet.data.coco_json import read_panoptic_json
from aunet.data.coco_panoptic import measure_segments
from aunet.data.scenes import Scene
from aunet.data.shapes import write_scenes

NAMES = {c.id: c.name for c in CATEGORIES.entries}
GOLDEN = {0: "5077f079285e10e7", 5: "2279cf18299e92a7"}
"""SHA-256 of the pixels and ids of two scenes of seed 0; a new value needs a new `shapes.VERSION`."""
PATCH = 12
"""Side in pixels of what a 3×3 convolution at stride 4 sees."""


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(0, "train", index) for index in range(240)]


def names(scene: Scene) -> np.ndarray:
    """The name of each pixel's category."""
    return np.vectorize({0: "", **{s.id: NAMES[s.category_id] for s in scene.segments}}.get)(scene.ids)


def distance(scene: Scene) -> np.ndarray:
    """Pixels from each pixel to the nearest thing."""
    is_thing = np.isin(scene.ids, [s.id for s in scene.segments if s.is_thing])
    return np.asarray(distance_transform_edt(~is_thing))


@pytest.mark.parametrize("index", GOLDEN)
def test_scenes_are_the_same_on_every_machine(index: int) -> None:
    scene = make_scene(0, "val", index)
    assert hashlib.sha256(scene.image.tobytes() + scene.ids.astype("<i4").tobytes()).hexdigest()[:16] == GOLDEN[index]


def test_segments_are_what_the_ids_show(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert {s.id: (s.area, s.bbox) for s in scene.segments} == measure_segments(scene.ids)
    assert {s.category_id for scene in scenes for s in scene.segments} == set(CATEGORIES.by_id)


def test_things_lie_only_on_the_ground_that_they_tell(scenes: list[Scene]) -> None:
    """By the ground that surrounds each of them, its own shadow's width away."""
    of_kind = {kind: ground for ground, kinds in KINDS_ON.items() for kind in kinds}
    right = wrong = 0
    for scene in scenes[:80]:
        ground = names(scene)
        for segment in (s for s in scene.segments if s.is_thing):
            x, y, width, height = segment.bbox
            around = ground[max(y - 2, 0) : y + height + 2, max(x - 2, 0) : x + width + 2]
            counts = {name: int((around == name).sum()) for name in KINDS_ON}
            if sum(counts.values()):
                is_right = max(counts, key=lambda name: counts[name]) == of_kind[NAMES[segment.category_id]]
                right, wrong = right + is_right, wrong + (not is_right)
    assert right > 150 and wrong <= 0.03 * right  # those across a path


def test_most_ground_is_far_from_all_things(scenes: list[Scene]) -> None:
    far = [distance(scene)[np.isin(names(scene), list(KINDS_ON))] for scene in scenes[:60]]
    assert float((np.concatenate(far) > PATCH).mean()) > 0.65


def patches(scenes: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of patches of ground far from things, and whether each is meadow."""
    features, labels = [], []
    for scene in scenes:
        ground, far = names(scene), distance(scene) > 2 * PATCH
        for y in range(0, 128 - PATCH, PATCH):
            for x in range(0, 160 - PATCH, PATCH):
                window = slice(y, y + PATCH), slice(x, x + PATCH)
                kinds = np.unique(ground[window])
                if len(kinds) == 1 and kinds[0] in KINDS_ON and far[window].all():
                    pixels = scene.image[window].reshape(-1, 3) / 255
                    features.append([*pixels.mean(0), *pixels.std(0), *np.quantile(pixels, 0.9, axis=0)])
                    labels.append(kinds[0] == "meadow")
    return np.array(features), np.array(labels)


def test_the_two_grounds_look_the_same(scenes: list[Scene]) -> None:
    """The nearest patches of other scenes tell no more than a coin; with the texture as the label they tell all."""
    train, is_meadow = patches(scenes[:160])
    test, truth = patches(scenes[160:])
    assert len(train) > 2000 and 0.4 < is_meadow.mean() < 0.6
    distances = ((test[:, None] - train[None]) ** 2).sum(-1)
    nearest = np.argpartition(distances, 15, axis=1)[:, :15]
    assert abs(float(((is_meadow[nearest].mean(1) > 0.5) == truth).mean()) - 0.5) < 0.06
    texture, true_texture = train[:, 0] > train[:, 1], test[:, 0] > test[:, 1]  # sand is red, grass is green
    assert float(((texture[nearest].mean(1) > 0.5) == true_texture).mean()) > 0.95
    assert abs(float(test[truth].mean() - test[~truth].mean())) < 0.03


def test_they_are_written_and_read_like_the_others(tmp_path: Path) -> None:
    write_scenes(tmp_path, num_train=2, num_val=1, height=64, width=80, seed=3, kind="ambiguous")
    document = tmp_path / "annotations" / "panoptic_train.json"
    annotations = read_panoptic_json(document.read_bytes(), document.name)
    assert annotations.categories == CATEGORIES
    assert annotations.images[1].segments == make_scene(3, "train", 1, 64, 80).segments
