"""What the data of a run are, as plain values for its report."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader

NUM_SIZES = 4
"""The most frequent sizes of images are listed."""


def data_card(prepared_uri: str) -> dict[str, Any]:
    """Images, sizes and segments per category of every split.

    Returns:
        `fingerprint`, `categories`, and per split in `splits`: `images quarantined fingerprint`, `segments` (one number
        per category, in the order of the categories), `sizes` (the most frequent, [width, height, images]) and
        `num_sizes`.

    Raises:
        InputError: the manifest or an index is missing or damaged.
    """
    manifest = Manifest.load(prepared_uri)
    splits = {}
    for name, split in manifest.splits.items():
        sizes = Counter(ShardReader(prepared_uri, name).sizes)
        splits[name] = {
            "images": split.num_images,
            "quarantined": split.num_quarantined,
            "fingerprint": manifest.split_fingerprint(name),
            "segments": [split.num_segments.get(c.id, 0) for c in manifest.categories.entries],
            "sizes": [[width, height, count] for (height, width), count in sizes.most_common(NUM_SIZES)],
            "num_sizes": len(sizes),
        }
    return {"fingerprint": manifest.fingerprint, "categories": len(manifest.categories), "splits": splits}
