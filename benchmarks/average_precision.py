"""AP of generated instances, by `InstanceAP` and by pycocotools at the same settings; `evaluators.py` reports it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from aunet.categories import Categories
from aunet.evaluation.instance_ap import InstanceAP
from benchmarks.panoptic_maps import CATEGORIES, HEIGHT, NUM_THINGS, WIDTH
from tests.coco_oracle import by_pycocotools


def make_instances(num_images: int) -> InstanceAP:
    """Polygons, and 100 detections for each image, half of them near an instance."""
    rng = np.random.default_rng(2)
    ap = InstanceAP(Categories.from_json(CATEGORIES))
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)

    def instance(x: float, y: float, w: float, h: float) -> dict[str, Any]:
        radius = 1 + 0.2 * np.sin(3 * angles + rng.random() * 6)
        outline = np.stack([x + w * radius * np.cos(angles), y + h * radius * np.sin(angles)], axis=1).reshape(-1)
        polygons: Any = [outline.tolist()]
        code: Any = coco_mask.frPyObjects(polygons, HEIGHT, WIDTH)[0]
        area, box = float(coco_mask.area(code)), coco_mask.toBbox(code).tolist()
        code = {"size": list(code["size"]), "counts": code["counts"].decode()}
        return {"segmentation": code, "area": area, "bbox": box}

    def anywhere() -> np.ndarray:
        return np.array([rng.random() * WIDTH, rng.random() * HEIGHT, *(12 + 120 * rng.random(2) ** 3)])

    for image_id in range(num_images):
        shapes = [(int(c), anywhere()) for c in rng.choice(rng.integers(1, NUM_THINGS + 1, 4), rng.integers(2, 14))]
        true = [{"category_id": c, "iscrowd": int(rng.random() < 0.03), **instance(*s)} for c, s in shapes]
        predicted = []
        for _ in range(100):
            category_id, shape = shapes[rng.integers(len(shapes))]
            shape = shape * rng.normal(1, 0.05, 4) if rng.random() < 0.5 else anywhere()
            scored = {"category_id": category_id, "score": float(rng.random()), "iscrowd": 0}
            predicted.append(instance(*shape) | scored)
        both = {"true": true, "predicted": predicted}
        ap.images[image_id] = {side: [a | {"image_id": image_id} for a in rows] for side, rows in both.items()}
    return ap


def average_precision(num_images: int, rounds: int) -> dict[str, Any]:
    """CPU seconds of AP and AP_box, index and all."""
    ap = make_instances(num_images)
    own, other = [], []
    got, expected = {}, {}
    for _ in range(rounds):
        started = time.process_time()
        got = ap.compute()
        own.append(time.process_time() - started)
        started = time.process_time()
        things = CATEGORIES[:NUM_THINGS]
        expected = {
            "AP": by_pycocotools(ap, "segm", things, HEIGHT, WIDTH),
            "AP_box": by_pycocotools(ap, "bbox", things, HEIGHT, WIDTH),
        }
        other.append(time.process_time() - started)
    return {
        "images": num_images,
        "CPU s": {"InstanceAP": min(own), "pycocotools": min(other)},
        "ratio": min(other) / min(own),
        "largest difference": max(abs(got[key] - expected[key]) for key in got),
        "AP": got,
    }
