"""How fast raw images become shards: `preprocess` beside one pass over the same files.

    python benchmarks/preprocess.py [--images 6400] [--rounds 5]

Generated scenes of 640×480 (JPEG and panoptic PNG), 160 of them under as many names as there should be images. The pass
reads, decodes, hashes and writes every file once, in two processes that run already; `preprocess` also counts every
segment, checks every rule, hashes pictures for near duplicates, writes Parquet and waits until it is on the disk. Both
by the clock and by the CPU time of all processes, which other work on the machine changes less. They take turns, and of
every figure the median counts. Prints a table and writes `benchmarks/results/preprocess.json`. Runs for four minutes on
two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet.data.coco_panoptic import decode_image, decode_panoptic
from aunet.data.shapes import write_scenes
from benchmarks.growth import name_images
from benchmarks.machine import cpu_name, cpu_seconds
from pipelines import presets
from pipelines.preprocess import preprocess
from pipelines.runtime.cluster import connect
from pipelines.settings.run_config import DataConfig, RunConfig, SplitConfig
from pipelines.store import storage

HEIGHT, WIDTH, DISTINCT, WORKERS = 480, 640, 160, 2
RESULTS = Path(__file__).parent / "results" / "preprocess.json"


def config_of(raw: Path) -> RunConfig:
    """A run on generated scenes below `raw`, which are resized as those of `coco_r50`."""

    def split(name: str) -> SplitConfig:
        maps = f"annotations/panoptic_{name}"
        return SplitConfig(images=name, panoptic_json=f"{maps}.json", panoptic_dir=maps)

    data = DataConfig(root=str(raw), train=split("train"), val=split("val"))
    return RunConfig(name="scenes", data=data, augment=presets.coco_r50().augment)


def measure(config: RunConfig) -> dict[str, Any]:
    """Prepare the data of a run, then pass over its files."""
    started, cpu = time.perf_counter(), cpu_seconds(os.getpid())
    preprocess(config)
    took, cpu_took = time.perf_counter() - started, cpu_seconds(os.getpid()) - cpu
    files = [p for p in Path(config.data.root).rglob("*") if p.suffix in (".jpg", ".png")]
    with multiprocessing.get_context("forkserver").Pool(WORKERS) as pool, tempfile.TemporaryDirectory() as folder:
        pool.map(abs, range(WORKERS))  # its processes have imported this file then
        started, cpu = time.perf_counter(), cpu_seconds(os.getpid())
        pool.starmap(copy_decoded, [(path, folder) for path in files], chunksize=16)
        bound, cpu_bound = time.perf_counter() - started, cpu_seconds(os.getpid()) - cpu
    images = len(files) // 2
    return {
        "images": images,
        "megabytes": sum(p.stat().st_size for p in files) / 1e6,
        "images per second": images / took,
        "one pass: images per second": images / bound,
        "ratio": bound / took,
        "milliseconds of CPU per image": 1e3 * cpu_took / images,
        "one pass: milliseconds of CPU per image": 1e3 * cpu_bound / images,
        "ratio of CPU": cpu_bound / cpu_took,
    }


def copy_decoded(path: Path, folder: str) -> str:
    """Read, decode, write and hash a file."""
    data = path.read_bytes()
    (decode_image if path.suffix == ".jpg" else decode_panoptic)(data)
    (Path(folder) / f"{path.parent.name}-{path.name}").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-write", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUNET_STORE"] = storage.join(folder, "store")
        connect(num_cpus=WORKERS)
        small, scenes, raw = (Path(folder) / name for name in ("small", "scenes", "raw"))
        write_scenes(small, num_train=2, num_val=2, height=HEIGHT, width=WIDTH, seed=1)
        preprocess(config_of(small))  # Ray's processes have started then
        write_scenes(scenes, num_train=DISTINCT, num_val=8, height=HEIGHT, width=WIDTH)
        name_images(scenes, raw, arguments.images)
        load = [round(value, 1) for value in os.getloadavg()]
        facts = {"hardware": cpu_name(), "date": time.strftime("%Y-%m-%d"), "load": load}
        rounds = []
        for number in range(arguments.rounds):
            os.environ["AUNET_STORE"] = storage.join(folder, f"store{number}")
            rounds.append(measure(config_of(raw)))
            print({name: float(f"{value:.4g}") for name, value in rounds[-1].items()}, file=sys.stderr)
    rows = {name: float(f"{statistics.median(one[name] for one in rounds):.4g}") for name in rounds[0]}
    facts["ratio of CPU, all rounds"] = [round(one["ratio of CPU"], 3) for one in rounds]
    for name, value in rows.items():
        print(f"{name:45} {value:g}")
    if not arguments.no_write:
        RESULTS.write_text(json.dumps(facts | rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
