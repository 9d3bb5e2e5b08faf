"""How time and memory of `preprocess` grow with the data: `python benchmarks/growth.py`.

One thousand generated scenes of 128×160, under as many names as there should be images; each size is prepared by a
process of its own with Ray on all cores. Memory is the most that the driver and the largest of Ray's tasks used (PSS).
The last run adds 1 % of new images to the largest set. Runs for five minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet.data.shapes import write_scenes
from benchmarks.machine import cpu_name, proportional_bytes

DISTINCT = 1000
RESULTS = Path(__file__).parent / "results" / "growth.json"


def name_images(base: Path, root: Path, count: int) -> None:
    """A data set of `count` images below `root`: the scenes of `base` in turn, as hard links."""
    for split, number in (("train", count), ("val", 8)):
        document = json.loads((base / "annotations" / f"panoptic_{split}.json").read_bytes())
        images, annotations = [], []
        for folder in (root / split, root / "annotations" / f"panoptic_{split}"):
            folder.mkdir(parents=True, exist_ok=True)
        for n in range(number):
            image, annotation = (document[key][n % len(document["images"])] for key in ("images", "annotations"))
            names = f"{n:06d}.jpg", f"{n:06d}.png"
            sources = (
                base / split / image["file_name"],
                base / f"annotations/panoptic_{split}" / annotation["file_name"],
            )
            targets = root / split / names[0], root / f"annotations/panoptic_{split}" / names[1]
            for source, target in zip(sources, targets, strict=True):
                if not target.exists():
                    os.link(source, target)
            images.append({**image, "id": n + 1, "file_name": names[0]})
            annotations.append({**annotation, "image_id": n + 1, "file_name": names[1]})
        annotation_path = root / "annotations" / f"panoptic_{split}.json"
        annotation_path.write_text(json.dumps({**document, "images": images, "annotations": annotations}))


def descendants(pid: int) -> list[int]:
    """Ray's worker processes below a process."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        parents[int(path.parent.name)] = int(rest.split()[1]), name
    family, new = {pid}, {pid}
    while new:
        new = {child for child, (parent, _) in parents.items() if parent in new} - family
        family |= new
    return [child for child in family if child != pid and parents[child][1].startswith("ray::")]


def prepare(root: Path, store: Path) -> dict[str, Any]:
    """Run `preprocess` as a command; returns seconds, seconds of CPU and the most memory in MB."""
    words = [sys.executable, "-m", "jobs", "preprocess", "camvid_small", "--data.root", str(root)]
    words += ["--data.rows_per_shard", "256"]
    environment = {**os.environ, "AUNET_STORE": str(store), "RAY_worker_niceness": "0"}
    started = time.monotonic()
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    peak = {"driver": 0, "task": 0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            peak["driver"] = max(peak["driver"], proportional_bytes(process.pid))
            peak["task"] = max(peak["task"], *(proportional_bytes(pid) for pid in descendants(process.pid)), 0)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    out, _ = process.communicate()
    done.set()
    assert process.returncode == 0
    memory = {f"{name}_mb": round(size / 1e6) for name, size in peak.items()}
    return {"seconds": round(time.monotonic() - started, 1), **memory, "num_images": json.loads(out)["num_images"]}


def main() -> None:
    """Prepare data of every size, then add to the largest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 5000, 20000, 50000])
    sizes = parser.parse_args().sizes
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        write_scenes(base, num_train=DISTINCT, num_val=8, height=128, width=160)
        for size in [*sizes, sizes[-1] + sizes[-1] // 100]:
            name_images(base, Path(folder) / "raw", size)
            last = size != sizes[-1] and size == sizes[-1] + sizes[-1] // 100
            store = Path(folder) / f"store{sizes[-1] if last else size}"
            rows.append({"images": size, "added_to": sizes[-1] if last else 0, **prepare(Path(folder) / "raw", store)})
            print(json.dumps(rows[-1]), flush=True)
    result = {"hardware": cpu_name(), "date": time.strftime("%Y-%m-%d"), "rows": rows}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
