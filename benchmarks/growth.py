"""How time and memory of `preprocess` grow with the data: `python benchmarks/growth.py`.

    python benchmarks/growth.py --sizes 1000000 --side 32 --folder DIR     # after their making, 23 minutes

One thousand generated scenes of 128×160, or squares of `--side`, under as many names as there should be images; each
size is prepared by a process of its own with Ray on all cores. Memory is the most that the driver and the largest of
Ray's tasks used (PSS), and the driver's over time. The last run adds 1 % of new images to the largest set. Runs for
five minutes on two cores. With `--folder` all is kept, and what is there already is not made again.
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
PER_FOLDER = 1000
CURVE_POINTS = 20
RESULTS = Path(__file__).parent / "results"


def name_images(base: Path, root: Path, count: int) -> None:
    """A data set of `count` images below `root`: the scenes of `base` in turn, as hard links."""
    for split, number in (("train", count), ("val", 8)):
        document = json.loads((base / "annotations" / f"panoptic_{split}.json").read_bytes())
        folders = root / split, root / "annotations" / f"panoptic_{split}"
        for n in range(0, number, PER_FOLDER):
            for folder in folders:
                (folder / f"{n // PER_FOLDER:04d}").mkdir(parents=True, exist_ok=True)
        with open(root / "annotations" / f"panoptic_{split}.json", "w") as out:
            out.write(f'{{"categories": {json.dumps(document["categories"])}')
            for key, folder, suffix in zip(("images", "annotations"), folders, ("jpg", "png"), strict=True):
                out.write(f', "{key}": [')
                for n in range(number):
                    entry = document[key][n % len(document[key])]
                    name = f"{n // PER_FOLDER:04d}/{n:07d}.{suffix}"
                    if not (folder / name).exists():
                        os.link(base / folder.relative_to(root) / entry["file_name"], folder / name)
                    number_key = "id" if key == "images" else "image_id"
                    out.write(("," if n else "") + json.dumps({**entry, number_key: n + 1, "file_name": name}))
                out.write("]")
            out.write("}")


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
    peak, curve = {"driver": 0, "task": 0}, list[tuple[float, float]]()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            driver = proportional_bytes(process.pid)
            curve.append((round(time.monotonic() - started, 1), round(driver / 1e6)))
            peak["driver"] = max(peak["driver"], driver)
            peak["task"] = max(peak["task"], *(proportional_bytes(pid) for pid in descendants(process.pid)), 0)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    out, _ = process.communicate()
    done.set()
    assert process.returncode == 0
    memory = {f"{name}_mb": round(size / 1e6) for name, size in peak.items()}
    points = [curve[n * (len(curve) - 1) // CURVE_POINTS] for n in range(CURVE_POINTS + 1)]
    return {
        "seconds": round(time.monotonic() - started, 1),
        **memory,
        "driver_mb_at_seconds": points,
        "num_images": json.loads(out)["num_images"],
    }


def main() -> None:
    """Prepare data of every size, then add to the largest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 5000, 20000, 50000])
    parser.add_argument("--side", type=int, help="pixels of square images; default: 128×160")
    parser.add_argument("--folder", type=Path, help="kept, and used again")
    arguments = parser.parse_args()
    sizes, height, width = arguments.sizes, arguments.side or 128, arguments.side or 160
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        base = folder / "base"
        if not base.exists():
            write_scenes(base, num_train=DISTINCT, num_val=8, height=height, width=width)
        for size in [*sizes, sizes[-1] + sizes[-1] // 100]:
            name_images(base, folder / "raw", size)
            last = size != sizes[-1] and size == sizes[-1] + sizes[-1] // 100
            store = folder / f"store{sizes[-1] if last else size}"
            rows.append({"images": size, "added_to": sizes[-1] if last else 0, **prepare(folder / "raw", store)})
            print(json.dumps(rows[-1]), flush=True)
    load = [round(value, 1) for value in os.getloadavg()]
    result = {"hardware": cpu_name(), "date": time.strftime("%Y-%m-%d"), "load": load, "rows": rows}
    name = f"growth_{arguments.side}.json" if arguments.side else "growth.json"
    (RESULTS / name).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
