"""`outcomes.parquet` of a report: what happened to every segment, the images' tags, and the categories.

One row per segment: image_id, is_predicted, segment_id, category (index into the categories), area (pixels), is_crowd,
fate (see `Fate`), iou, other_id, other_category, other_iou. The schema's metadata `aunet` is a JSON object with
`categories`, as COCO writes them, and `images`, a list of [image id, {tag: text}].
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aunet.categories import Categories
from aunet.config_json import from_json
from aunet.errors import InputError
from aunet.evaluation.outcomes import COLUMNS, Fate, Outcomes
from pipelines.store.stored_json import stored_object

Tags = dict[int, dict[str, str]]
"""Image id → name of a tag → text."""
CURE = "run `evaluate` again, or restore the file"
_SCHEMA = pa.schema(
    [
        pa.field(name, pa.from_numpy_dtype(np.dtype(kind)), nullable=False)
        for name, kind in COLUMNS.items()
        if name != "images"
    ]
)
_DOCUMENT = b"aunet"


def to_parquet(outcomes: Outcomes, tags: Mapping[int, Mapping[str, str]], categories: Categories) -> bytes:
    """The bytes of the file; equal outcomes give equal bytes.

    Args:
        tags: of images; those that are missing have none.
    """
    images = [[image_id, dict(tags.get(image_id, {}))] for image_id in outcomes.images.tolist()]
    document = json.dumps({"categories": categories.to_json(), "images": images}).encode()
    columns = [pa.array(getattr(outcomes, name)) for name in _SCHEMA.names]
    table = pa.Table.from_arrays(columns, schema=_SCHEMA.with_metadata({_DOCUMENT: document}))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def from_parquet(data: bytes, source_name: str) -> tuple[Outcomes, Tags, Categories]:
    """The inverse of `to_parquet`.

    Raises:
        InputError: it is damaged, or not such a file.
    """
    try:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        if not table.schema.remove_metadata().equals(_SCHEMA):
            raise ValueError("it has other columns")
        document = stored_object((table.schema.metadata or {}).get(_DOCUMENT, b""), source_name, CURE)
        categories = Categories.from_json(from_json(tuple[Any, ...], document.get("categories"), "categories"))
        images = from_json(tuple[tuple[int, dict[str, str]], ...], document.get("images"), "images")
        columns = {name: table.column(name).to_numpy() for name in _SCHEMA.names}
        outcomes = Outcomes.from_plain({**columns, "images": [image_id for image_id, _ in images]})
        _check(outcomes, len(categories))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:  # InputError is a ValueError
        why = " ".join(str(error).split())[:200]
        raise InputError(f"{source_name}: not the outcomes of an evaluation, or damaged ({why}); {CURE}") from None
    return outcomes, dict(images), categories


def _check(outcomes: Outcomes, num_categories: int) -> None:
    """What the columns' types do not say."""
    for name, least, most in (
        ("category", 0, num_categories - 1),
        ("other_category", -1, num_categories - 1),
        ("fate", 0, max(Fate)),
        ("area", 0, None),
        ("iou", 0, 1),
        ("other_iou", 0, 1),
    ):
        column = getattr(outcomes, name)
        if not ((column >= least) & (most is None or column <= most)).all():
            raise ValueError(f"a value of {name} is out of range")
    ascending = (np.diff(outcomes.images) > 0).all() and (np.diff(outcomes.image_id) >= 0).all()
    if not ascending or not np.isin(outcomes.image_id, outcomes.images).all():
        raise ValueError("its images are not in order, or not listed")
