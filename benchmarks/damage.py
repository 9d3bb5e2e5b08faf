"""Flipped bits and cut ends in the shards of prepared data: how many are noticed, and how many would not be.

`python benchmarks/damage.py` damages copies of shards of generated 640×480 pictures, one bit or one cut at a time,
reads the whole shard, and prints the outcomes: with page checksums and row hashes, as `ShardReader` reads, and as plain
Parquet without either.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet.errors import InputError
from benchmarks.machine import cpu_name
from pipelines import presets
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.preprocess import preprocess
from pipelines.settings.run_config import DataConfig, ShapesConfig

FLIPS = 1000
CUTS = (0.1, 0.5, 0.9, 0.999)


def outcome(prepared_uri: str, expected: list[dict]) -> str:
    """The outcome of reading a whole split through `ShardReader`."""
    try:
        reader = ShardReader(prepared_uri, "val", cache_bytes=0)
        rows = [reader.row(n) for n in range(len(reader))]
    except InputError as error:
        message = str(error)
        return "noticed, shard and row named" if " in row " in message else "noticed, shard named"
    return "no data changed" if rows == expected else "WRONG DATA, not noticed"


def outcome_as_parquet(path: Path, expected: list[dict]) -> str:
    """The outcome of reading the file as plain Parquet."""
    try:
        rows = pq.read_table(path).to_pylist()
    except Exception:  # noqa: BLE001 - whatever a decoder stumbles over
        return "noticed"
    return "no data changed" if rows == expected else "WRONG DATA, not noticed"


def main() -> None:
    """Damage, read, count."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUNET_STORE"] = folder
        shapes = ShapesConfig(num_train=1, num_val=12, height=480, width=640)
        config = replace(presets.shapes_smoke(), data=DataConfig(shapes=shapes, rows_per_shard=16))
        uri = preprocess(config).uri
        shards = Manifest.load(uri).splits["val"].shards
        expected = [ShardReader(uri, "val").row(n) for n in range(12)]
        rng = np.random.default_rng(0)
        ours, plain, cut = Counter[str](), Counter[str](), Counter[str]()
        for number in range(FLIPS):
            shard = shards[number % len(shards)]
            path = Path(folder) / "prepared/shards" / shard.name
            first = sum(s.num_rows for s in shards[: number % len(shards)])
            content = path.read_bytes()
            position, bit = int(rng.integers(len(content))), int(rng.integers(8))
            path.write_bytes(content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :])
            ours[outcome(uri, expected)] += 1
            plain[outcome_as_parquet(path, expected[first : first + shard.num_rows])] += 1
            path.write_bytes(content)
        for shard in shards:
            path = Path(folder) / "prepared/shards" / shard.name
            content = path.read_bytes()
            for share in CUTS:
                path.write_bytes(content[: int(len(content) * share)])
                cut[outcome(uri, expected)] += 1
            path.write_bytes(content)
    result = {
        "hardware": cpu_name(),
        "date": time.strftime("%Y-%m-%d"),
        "flips": FLIPS,
        "page checksums and row hashes": dict(ours),
        "plain Parquet": dict(plain),
        f"cut at {CUTS} of each of {len(shards)} shards": dict(cut),
    }
    print(json.dumps(result, indent=1))
    (Path(__file__).parent / "results" / "damage.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
