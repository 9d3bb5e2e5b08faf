"""AP: by hand, then against pycocotools fed from JSON in the documented way, then merging and the edges."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from aunet.categories import Categories, Category
from aunet.errors import InputError
from aunet.evaluation.instance_ap import InstanceAP
from aunet.structures import Detections, Segment
from tests.coco_oracle import by_pycocotools
from tests.tiny import run_lengths

CATEGORIES = Categories(
    tuple(Category(id=i, name=n, is_thing=t) for i, n, t in [(3, "car", True), (7, "dog", True), (9, "road", False)])
)
CAR, DOG = 3, 7
Box = tuple[int, int, int, int]


def filled(*boxes: Box, size: int = 40) -> torch.Tensor:
    masks = torch.zeros(len(boxes), size, size, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    return masks


def detected(*instances: tuple[float, int, Box]) -> Detections:
    boxes = [box for _, _, box in instances]
    return Detections(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor([score for score, _, _ in instances]),
        labels=torch.tensor([CATEGORIES.detector_labels[c] for _, c, _ in instances], dtype=torch.int64),
        masks=filled(*boxes),
    )


BOX, OTHER = (2, 2, 22, 22), (25, 25, 35, 35)


def test_perfect_detections_are_100() -> None:
    ap = InstanceAP(CATEGORIES)
    ap.update(1, detected((0.9, CAR, BOX), (0.8, DOG, OTHER)), filled(BOX, OTHER), [CAR, DOG])
    assert ap.compute() == pytest.approx({"AP": 100, "AP_box": 100})


def test_an_iou_of_three_quarters_passes_half_of_the_thresholds() -> None:
    ap = InstanceAP(CATEGORIES)
    ap.update(1, detected((0.9, CAR, (2, 2, 17, 22))), filled(BOX), [CAR])
    assert ap.compute() == pytest.approx({"AP": 60, "AP_box": 60})  # 0.50, 0.55, … 0.75: six of ten


def test_masks_and_boxes_are_judged_apart() -> None:
    detections = detected((0.9, CAR, BOX))
    detections.masks[:, 2:12] = False
    ap = InstanceAP(CATEGORIES)
    ap.update(1, detections, filled(BOX), [CAR])
    assert ap.compute() == pytest.approx({"AP": 10, "AP_box": 100})


def test_a_crowd_excuses_what_lies_in_it_and_is_not_missed() -> None:
    ap = InstanceAP(CATEGORIES)
    instances = detected((0.95, CAR, (26, 26, 30, 30)), (0.9, CAR, BOX))
    ap.update(1, instances, filled(BOX, OTHER), [CAR, CAR], [False, True])
    assert ap.compute() == pytest.approx({"AP": 100, "AP_box": 100})


def test_from_a_panoptic_map() -> None:
    ids = torch.zeros(40, 40, dtype=torch.int32)
    ids[2:22, 2:22], ids[25:35, 25:35], ids[0] = 5, 6, 7
    segments = [Segment(5, CAR, True, 0), Segment(6, CAR, True, 0, is_crowd=True), Segment(7, 9, False, 0)]
    ap = InstanceAP(CATEGORIES)
    ap.update_from_map(1, detected((0.9, CAR, BOX)), ids, segments)
    assert [a["category_id"] for a in ap.images[1]["true"]] == [CAR, CAR]
    assert ap.compute() == pytest.approx({"AP": 100, "AP_box": 100})


@pytest.mark.parametrize("categories", [CATEGORIES, Categories((Category(id=9, name="road", is_thing=False),))])
def test_nothing_is_zero(categories: Categories, capsys: pytest.CaptureFixture[str]) -> None:
    ap = InstanceAP(categories)
    assert ap.compute() == {"AP": 0, "AP_box": 0}
    ap.update(1, detected(), filled(), [])
    ap.update_from_map(2, detected(), torch.zeros(40, 40, dtype=torch.int32), [])
    assert ap.compute() == {"AP": 0, "AP_box": 0}
    assert capsys.readouterr() == ("", "")


def test_only_truth_and_only_detections_are_zero_and_silent(capsys: pytest.CaptureFixture[str]) -> None:
    missed, invented = InstanceAP(CATEGORIES), InstanceAP(CATEGORIES)
    missed.update(1, detected(), filled(BOX), [CAR])
    invented.update(2, detected((0.9, DOG, BOX)), filled(), [])
    assert missed.compute() == invented.compute() == {"AP": 0, "AP_box": 0}
    missed.merge(invented)
    assert missed.compute() == {"AP": 0, "AP_box": 0}
    assert capsys.readouterr() == ("", "")


def test_an_image_counts_once_and_categories_do_not_mix() -> None:
    ap = InstanceAP(CATEGORIES)
    ap.update(1, detected(), filled(BOX), [CAR])
    with pytest.raises(InputError, match="image 1 is evaluated twice"):
        ap.update(1, detected(), filled(BOX), [CAR])
    with pytest.raises(InputError, match="image 1 is evaluated twice"):
        ap.merge(pickle.loads(pickle.dumps(ap)))
    other = InstanceAP(Categories((Category(id=1, name="car", is_thing=True),)))
    with pytest.raises(InputError, match="different categories"):
        other.merge(ap)
    with pytest.raises(InputError, match="different categories"):
        ap.merge(other)


def random_image(rng: np.random.Generator) -> tuple[Detections, torch.Tensor, list[int], list[bool]]:
    starts, sizes = rng.integers(0, 20, (6, 2)), rng.integers(4, 20, (6, 2))
    true: list[Box] = [(x1, y1, x2, y2) for x1, y1, x2, y2 in np.hstack([starts, starts + sizes]).tolist()]
    near = [tuple(int(np.clip(v + rng.integers(-2, 3), 0, 40)) for v in box) for box in true]
    near = [(x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)) for x1, y1, x2, y2 in near]
    of = rng.choice([CAR, DOG], 6).tolist()
    guess = [c if rng.random() < 0.8 else DOG for c in of]
    scores = sorted(rng.random(6).tolist(), reverse=True)
    detections = detected(*zip(scores, guess, near, strict=True))
    return detections, filled(*true), of, (rng.random(6) < 0.2).tolist()


def test_same_as_pycocotools_from_json_over_merged_workers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    workers = [InstanceAP(CATEGORIES), InstanceAP(CATEGORIES)]
    annotations, results = [], []
    for image_id in range(12):
        detections, masks, of, crowd = random_image(rng)
        workers[image_id % 2].update(image_id, detections, masks, of, crowd)
        for mask, category_id, flag in zip(masks.numpy(), of, crowd, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_id,
                    "iscrowd": int(flag),
                    "area": float(mask.sum()),
                    "bbox": rle.toBbox(rle.encode(np.asfortranarray(mask, np.uint8))).tolist(),
                    "segmentation": {"size": [40, 40], "counts": run_lengths(mask)},
                }
            )
        for box, mask, score, label in zip(
            detections.boxes.tolist(),
            detections.masks.numpy(),
            detections.scores.tolist(),
            detections.labels.tolist(),
            strict=True,
        ):
            results.append(
                {
                    "image_id": image_id,
                    "category_id": CATEGORIES.things[label - 1].id,
                    "score": score,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "segmentation": {"size": [40, 40], "counts": run_lengths(mask)},
                }
            )
    truth = tmp_path / "instances.json"
    images = [{"id": i, "height": 40, "width": 40} for i in range(12)]
    categories = [{"id": CAR, "name": "car"}, {"id": DOG, "name": "dog"}]
    truth.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    expected = {}
    kinds: dict[str, Literal["segm", "bbox"]] = {"AP": "segm", "AP_box": "bbox"}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        for key, kind in kinds.items():
            without_mask = [{k: v for k, v in r.items() if k != "segmentation"} for r in results]
            submitted = tmp_path / f"{kind}.json"
            submitted.write_text(json.dumps(results if kind == "segm" else without_mask))
            evaluation = COCOeval(coco, coco.loadRes(str(submitted)), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            expected[key] = 100 * evaluation.stats[0]
    total = InstanceAP(CATEGORIES)
    for worker in workers:
        total.merge(pickle.loads(pickle.dumps(worker)))
    assert 10 < expected["AP"] < 90
    assert total.compute() == pytest.approx(expected, abs=1e-9)
    assert total.compute() == pytest.approx(expected, abs=1e-9), "computing leaves the state as it was"


THINGS = [{"id": CAR, "name": "car"}, {"id": DOG, "name": "dog"}]


@pytest.mark.parametrize("seed", range(20))
def test_same_as_pycocotools_with_equal_scores_crowds_and_empty_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ap = InstanceAP(CATEGORIES)
    for image_id in range(8):
        detections, masks, of, crowd = random_image(rng)
        if seed % 2:  # several detections of one score: the order decides
            detections.scores[:] = (detections.scores * 3).round() / 3
        if image_id == 3:
            masks, of, crowd = masks[:0], [], []
        ap.update(image_id, detected() if image_id == 5 else detections, masks, of, crowd)
    got = ap.compute()
    assert got["AP"] == pytest.approx(by_pycocotools(ap, "segm", THINGS, 40, 40), abs=1e-9)
    assert got["AP_box"] == pytest.approx(by_pycocotools(ap, "bbox", THINGS, 40, 40), abs=1e-9)


def test_more_detections_than_count_and_thin_masks() -> None:
    """100 detections of an image and category count; a mask may be of one pixel, and lie on the edge."""
    rng = np.random.default_rng(7)
    boxes: list[Box] = [(x, y, x + w, y + h) for x, y, w, h in rng.integers(1, 12, (150, 4)).tolist()]
    detections = detected(*zip(rng.random(150).tolist(), [CAR] * 150, boxes, strict=True))
    ap = InstanceAP(CATEGORIES)
    ap.update(1, detections, filled((0, 0, 1, 1), (39, 39, 40, 40), *boxes[:5]), [CAR] * 7)
    got = ap.compute()
    assert got["AP"] == pytest.approx(by_pycocotools(ap, "segm", THINGS, 40, 40), abs=1e-9) and got["AP"] > 0
    assert got["AP_box"] == pytest.approx(by_pycocotools(ap, "bbox", THINGS, 40, 40), abs=1e-9)
