"""Average precision of the detections before fusion, as COCO defines it: pycocotools' numbers, computed by hotcoco."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from hotcoco import COCO, COCOeval
from pycocotools import mask as coco_mask
from torch import Tensor

from aunet.categories import Categories
from aunet.errors import InputError
from aunet.segments import Segment
from aunet.structures import Detections

_KINDS: dict[str, Literal["segm", "bbox"]] = {"AP": "segm", "AP_box": "bbox"}


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
                "image_id": image_id,
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
                "image_id": image_id,
                "segmentation": rle,
                "area": float(coco_mask.area(rle)),
                "bbox": bbox,
                "iscrowd": 0,
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

    def to_plain(self) -> dict[str, Any]:
        """All images as JSON values, by their ids."""
        return {str(image_id): image for image_id, image in self.images.items()}

    @classmethod
    def from_plain(cls, categories: Categories, plain: Mapping[str, Any]) -> InstanceAP:
        """The inverse of `to_plain`."""
        instances = cls(categories)
        instances.images = {int(image_id): image for image_id, image in plain.items()}
        return instances

    def compute(self) -> dict[str, float]:
        """`AP` (masks) and `AP_box` in per cent, means over IoU 0.50 … 0.95; 0 without true or predicted instances."""
        true, predicted = self._index("true"), self._index("predicted")
        if true is None or predicted is None:
            return {"AP": 0.0, "AP_box": 0.0}
        return {name: _average_precision(true, predicted, kind) for name, kind in _KINDS.items()}

    def _index(self, side: Literal["true", "predicted"]) -> COCO | None:
        """hotcoco's index of the true or of the predicted instances; None where there are none."""
        annotations = [annotation for _, image in sorted(self.images.items()) for annotation in image[side]]
        for n, annotation in enumerate(annotations, start=1):
            annotation["id"] = n
        if not annotations:
            return None
        return COCO(
            {
                "images": [{"id": i, "height": 0, "width": 0} for i in self.images],  # the run-length codes have theirs
                "categories": [{"id": c.id, "name": c.name} for c in self.categories.things],
                "annotations": annotations,
            }
        )


def _average_precision(true: COCO, predicted: COCO, kind: Literal["segm", "bbox"]) -> float:
    """The mean precision over IoU thresholds and recalls, in per cent."""
    evaluation = COCOeval(true, predicted, kind)
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, 1e10]], ["all"]
    evaluation.params.maxDets = [100]
    evaluation.evaluate()
    evaluation.accumulate()
    # [IoU, recall, category, area, detections]; -1: category without ground truth
    precision = np.asarray((evaluation.eval or {})["precision"])
    precision = precision[precision > -1]
    return 100 * float(precision.mean()) if precision.size else 0.0


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
