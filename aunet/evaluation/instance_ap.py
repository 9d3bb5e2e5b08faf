"""Average precision of the detections before fusion, as COCO defines it, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from aunet.categories import Categories
from aunet.errors import InputError
from aunet.segments import Segment
from aunet.structures import Detections


class InstanceAP:
    """Run-length masks and boxes of detections and ground truth; several of them merge into one.

    Every image counts once: the same image in two accumulators is refused when they merge.
    """

    def __init__(self, categories: Categories) -> None:
        self.categories = categories
        self.images: dict[int, dict[str, Any]] = {}
        """image id → {"true": annotations, "predicted": annotations}, as in COCO's JSON."""

    def update(
        self,
        image_id: int,
        detections: Detections,
        true_masks: Tensor | npt.NDArray[Any],
        true_category_ids: Sequence[int],
        true_crowd: Sequence[bool] | None = None,
    ) -> None:
        """Add one image; detections and ground truth have the same size in pixels.

        Args:
            image_id: the data set's own, not added before.
            detections: K ≥ 0 instances, masks Tensor[K, H, W].
            true_masks: bool or uint8 [n, H, W], n ≥ 0; they may overlap. The boxes are those of the masks.
            true_category_ids: n category ids. Instances whose category is not a thing of `categories` are left out.
            true_crowd: n flags; a crowd is never missed, and detections in it do not count. None: no crowds.
        """
        if image_id in self.images:
            raise InputError(f"image {image_id} is evaluated twice; give each image to one worker only")
        masks = true_masks.detach().cpu().numpy() if isinstance(true_masks, Tensor) else np.asarray(true_masks)
        crowd = true_crowd if true_crowd is not None else [False] * len(true_category_ids)
        things = self.categories.detector_labels
        true = [
            {
                "segmentation": rle,
                "area": float(coco_mask.area(rle)),
                "bbox": coco_mask.toBbox(rle).tolist(),
                "category_id": category_id,
                "iscrowd": int(is_crowd),
            }
            for rle, category_id, is_crowd in zip(_encode(masks), true_category_ids, crowd, strict=True)
            if category_id in things
        ]
        boxes = detections.boxes.detach().float().cpu().numpy().reshape(-1, 4)
        columns = (
            _encode(_each_mask(detections)),
            np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist(),
            detections.scores.tolist(),
            detections.labels.tolist(),
        )
        predicted = [
            {
                "segmentation": rle,
                "area": float(coco_mask.area(rle)),
                "bbox": bbox,
                "score": score,
                "category_id": self.categories.things[label - 1].id,
            }
            for rle, bbox, score, label in zip(*columns, strict=True)
        ]
        self.images[image_id] = {"true": true, "predicted": predicted}

    def update_from_map(
        self,
        image_id: int,
        detections: Detections,
        true_ids: Tensor | npt.NDArray[np.integer],
        true_segments: Sequence[Segment],
    ) -> None:
        """Add one image whose true instances are the thing segments of a panoptic map, integer [H, W]."""
        ids = true_ids.detach().cpu().numpy() if isinstance(true_ids, Tensor) else np.asarray(true_ids)
        things = [s for s in true_segments if s.is_thing]
        masks = np.array([ids == s.id for s in things], dtype=bool).reshape(-1, *ids.shape)
        self.update(image_id, detections, masks, [s.category_id for s in things], [s.is_crowd for s in things])

    def merge(self, other: InstanceAP) -> None:
        """Add the images of `other`, which has the same categories."""
        if self.categories != other.categories:
            raise InputError("categories: accumulators of different categories cannot be merged; use one list for all")
        doubled = sorted(self.images.keys() & other.images.keys())
        if doubled:
            raise InputError(f"image {doubled[0]} is evaluated twice; give each image to one worker only")
        self.images |= other.images

    def compute(self) -> dict[str, float]:
        """`AP` (masks) and `AP_box` in per cent, means over IoU 0.50 … 0.95; 0 without true or predicted instances."""
        return {"AP": self._average_precision("segm"), "AP_box": self._average_precision("bbox")}

    def _average_precision(self, kind: Literal["segm", "bbox"]) -> float:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
            true, predicted = self._index("true"), self._index("predicted")
            if not true.anns or not predicted.anns:
                return 0.0
            evaluation = COCOeval(true, predicted, kind)
            evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, 1e10]], ["all"]
            evaluation.params.maxDets = [100]
            evaluation.evaluate()
            evaluation.accumulate()
        # [IoU, recall, category, area, detections]; -1: category without ground truth
        precision = evaluation.eval["precision"]
        precision = precision[precision > -1]
        return 100 * float(precision.mean()) if precision.size else 0.0

    def _index(self, kind: Literal["true", "predicted"]) -> Any:
        """pycocotools' index of the true or of the predicted instances."""
        annotations = [
            {"iscrowd": 0, **annotation, "image_id": image_id}
            for image_id, image in sorted(self.images.items())
            for annotation in image[kind]
        ]
        coco: Any = COCO()
        coco.dataset = {
            "images": [
                {"id": i, "height": 0, "width": 0} for i in sorted(self.images)
            ],  # the run-length codes have theirs
            "categories": [{"id": c.id, "name": c.name} for c in self.categories.things],
            "annotations": [a | {"id": n} for n, a in enumerate(annotations, start=1)],
        }
        coco.createIndex()
        return coco


def _each_mask(detections: Detections) -> Iterator[npt.NDArray[np.bool_]]:
    """One mask [H, W] after the other, so that only one has the size of the image."""
    for index in range(len(detections.boxes)):
        mask = np.zeros(detections.mask_shape[1:], bool)
        rows, columns, content = detections.window(index)
        mask[rows, columns] = content.detach().cpu().numpy()
        yield mask


def _encode(masks: Iterable[npt.NDArray[Any]]) -> list[Any]:
    """n masks [H, W] → COCO's run-length codes, with the counts as text."""
    codes: list[Any] = [coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in masks]
    return [{"size": list(code["size"]), "counts": code["counts"].decode("ascii")} for code in codes]
