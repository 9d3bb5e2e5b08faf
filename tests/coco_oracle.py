"""AP as pycocotools computes it, at the settings of `InstanceAP`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, Literal

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from aunet.evaluation.instance_ap import InstanceAP


def by_pycocotools(
    ap: InstanceAP, kind: Literal["segm", "bbox"], categories: Sequence[dict[str, Any]], height: int, width: int
) -> float:
    """Mean precision of the same instances, in per cent, area ranges left out.

    Args:
        categories: of things, as in COCO's JSON.
        height: of every image in pixels, as `width`.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        indices: list[Any] = []
        for side in ("true", "predicted"):
            rows = [{"iscrowd": 0, **a, "image_id": i} for i, image in sorted(ap.images.items()) for a in image[side]]
            coco: Any = COCO()
            coco.dataset = {
                "images": [{"id": i, "height": height, "width": width} for i in ap.images],
                "categories": list(categories),
                "annotations": [a | {"id": n} for n, a in enumerate(rows, start=1)],
            }
            coco.createIndex()
            indices.append(coco)
        evaluation = COCOeval(indices[0], indices[1], kind)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    precision: Any = evaluation.eval["precision"]
    return 100 * float(precision[precision > -1].mean())
