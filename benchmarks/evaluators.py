"""How fast predictions are evaluated: `score` and AP beside their peers, with the ratios of one run.

    python benchmarks/evaluators.py

Panoptic quality of generated maps of 640×480, 108 and 5,000 pairs, from disk: `score`, panopticapi (the reference) and
hotcoco (Rust), each in a process of its own, with one thread and with all; CPU seconds of the process from its start to
its end. Then the same maps as arrays in memory, panopticapi's own function on arrays. Then whether the numbers agree
with panopticapi's, image by image, on 1,000 small damaged pairs: as they are where panopticapi is right, and with its
known faults cured where it is wrong. Then AP of masks and boxes beside pycocotools. Programs take turns, three times
each for the 108 pairs; the least time counts. The 5,000 pairs are measured once, panopticapi with all cores only. It is
not on PyPI:

    pip install git+https://github.com/cocodataset/panopticapi

Prints tables and writes `benchmarks/results/evaluators.json`. Runs for ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet.categories import Categories
from aunet.data.coco_panoptic import decode_image, decode_panoptic, encode_panoptic, rgb_from_ids
from aunet.evaluation.panoptic_quality import PanopticQuality
from aunet.segments import Segment
from aunet_ops.segment_maps import reader_status
from benchmarks.average_precision import average_precision
from benchmarks.machine import RESULTS, cpu_name
from benchmarks.panoptic_maps import CATEGORIES, HEIGHT, NUM_THINGS, WIDTH, make_pair, write_folders

ROUNDS, SMALL, LARGE = 3, 108, 5000
panopticapi: Any = import_module("panopticapi.evaluation")
PROGRAMS = {
    "score": """
from pipelines.score import score
values = score(*PATHS, workers=THREADS).metrics
result = [values["PQ"], values["SQ"], values["RQ"]]""",
    "panopticapi": """
import panopticapi.evaluation as api, multiprocessing
multiprocessing.cpu_count = lambda: THREADS or len(__import__("os").sched_getaffinity(0))
values = api.pq_compute(PATHS[0], PATHS[2], PATHS[1], PATHS[3])["All"]
result = [100 * values[k] for k in ("pq", "sq", "rq")]""",
    "hotcoco": """
from hotcoco import panoptic
values = panoptic.pq_compute(PATHS[0], PATHS[2], PATHS[1], PATHS[3])["All"]
result = [100 * values[k] for k in ("pq", "sq", "rq")]""",
}


def run(program: str, paths: list[str], threads: int | None, folder: Path) -> dict[str, Any]:
    """CPU and wall seconds, peak megabytes and the result of a program in a fresh process, its bytecode compiled."""
    code = f"import json, pathlib\nPATHS, THREADS = {paths!r}, {threads!r}\n{PROGRAMS[program]}\nprint()\n"
    code += (
        "print(json.dumps(result)); print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    environment |= {"RAYON_NUM_THREADS": str(threads)} if threads else {}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{program}: {done.stderr}")
    *_, result, kilobytes = done.stdout.strip().splitlines()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"CPU s": cpu, "wall s": wall, "peak MB": int(kilobytes) / 1024, "PQ SQ RQ": json.loads(result)}


def from_disk(programs: list[str], paths: list[str], threads: int | None, rounds: int, folder: Path) -> dict[str, Any]:
    best: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for program in programs:
            once = run(program, paths, threads, folder)
            if program not in best or once["CPU s"] < best[program]["CPU s"]:
                best[program] = once
    own = best["score"]
    for peer in [best[program] for program in programs if program != "score"]:
        peer["CPU s / score's"] = peer["CPU s"] / own["CPU s"]
        peer["wall s / score's"] = peer["wall s"] / own["wall s"]
        peer["largest difference"] = float(np.abs(np.subtract(peer["PQ SQ RQ"], own["PQ SQ RQ"])).max())
    return best


def segments_of(entries: list[dict[str, Any]]) -> list[Segment]:
    return [
        Segment(s["id"], s["category_id"], s["category_id"] <= NUM_THINGS, s["area"], is_crowd=bool(s["iscrowd"]))
        for s in entries
    ]


def panopticapi_on(pairs: list[Any]) -> tuple[float, Any]:
    """Seconds and statistics of panopticapi's own function on pairs of id arrays, which it finds by their names."""
    maps = {f"{n}/{side}": pair[side][0] for n, pair in enumerate(pairs) for side in (0, 1)}
    annotations = [
        tuple(
            {"image_id": n, "file_name": f"{n}/{side}", "segments_info": [dict(s) for s in pair[side][1]]}
            for side in (0, 1)
        )
        for n, pair in enumerate(pairs)
    ]

    class InMemory:
        open = staticmethod(lambda path: maps[path])

    real = panopticapi.Image, panopticapi.rgb2id
    panopticapi.Image, panopticapi.rgb2id = InMemory, lambda ids: ids
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            started = time.perf_counter()
            counts = panopticapi.pq_compute_single_core(0, annotations, "", "", {c["id"]: c for c in CATEGORIES})
        return time.perf_counter() - started, counts
    finally:
        panopticapi.Image, panopticapi.rgb2id = real


def in_memory(pairs: list[Any]) -> dict[str, Any]:
    """Milliseconds per pair of id arrays, one thread."""
    read = [(true[0], segments_of(true[1]), predicted[0], segments_of(predicted[1])) for true, predicted in pairs]
    own, other = [], []
    for _ in range(ROUNDS):
        quality = PanopticQuality(Categories.from_json(CATEGORIES))
        started = time.perf_counter()
        for true_ids, true_segments, predicted_ids, predicted_segments in read:
            quality.update(predicted_ids, predicted_segments, true_ids, true_segments)
        own.append(time.perf_counter() - started)
        other.append(panopticapi_on(pairs)[0])
    milliseconds = {"PanopticQuality": 1e3 * min(own) / len(pairs), "panopticapi": 1e3 * min(other) / len(pairs)}
    return {"milliseconds per pair": milliseconds, "ratio": min(other) / min(own)}


def agreement(count: int) -> dict[str, Any]:
    """The largest difference of a count of one image and class, over pairs where panopticapi is right and the others.

    It takes areas of the ground truth from the JSON, and of several crowds of a class only the last: cured by right
    areas and by one crowd in place of several.
    """
    rng = np.random.default_rng(1)
    largest, numbers = {"right": 0.0, "cured": 0.0}, {"right": 0, "cured": 0}
    for _ in range(count):
        true, predicted = make_pair(rng, 48, 64, num_categories=12, crowds=float(rng.choice([0, 0.1, 0.3])))
        quality = PanopticQuality(Categories.from_json(CATEGORIES))
        factor = int(rng.integers(1, 3))
        wrong_areas = [s | {"area": s["area"] * factor} for s in true[1]]
        quality.update(predicted[0], segments_of(predicted[1]), true[0], segments_of(wrong_areas))
        crowd_ids: dict[int, list[int]] = {}
        for s in true[1]:
            if s["iscrowd"]:
                crowd_ids.setdefault(s["category_id"], []).append(s["id"])
        ids, segments = true[0].copy(), true[1]
        for first, *others in crowd_ids.values():
            ids[np.isin(ids, others)] = first
            segments = [s for s in segments if s["id"] not in others]
        segments = [s | {"area": int((ids == s["id"]).sum())} for s in segments]
        is_right = wrong_areas == true[1] and len(segments) == len(true[1])
        counts = panopticapi_on([((ids, segments), predicted)])[1]
        expected = [[getattr(counts[c["id"]], key) for key in ("iou", "tp", "fp", "fn")] for c in CATEGORIES]
        got = np.stack([quality.iou, quality.tp, quality.fp, quality.fn], axis=1)
        kind = "right" if is_right else "cured"
        numbers[kind] += 1
        largest[kind] = max(largest[kind], float(np.abs(got - expected).max()))
    return {"pairs": numbers, "largest difference": largest}


def decoding(pairs: list[Any]) -> dict[str, Any]:
    """Milliseconds of a map and of a photograph of noise and edges, by our decoders and by Pillow; the least of ten."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(3).normal(0, 12, (HEIGHT, WIDTH, 3))
    Image.fromarray((rgb_from_ids(pairs[0][0][0]) + noise).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG")
    png, jpeg = encode_panoptic(pairs[0][0][0]), buffer.getvalue()
    calls: dict[str, Callable[[], Any]] = {
        "panoptic PNG": lambda: decode_panoptic(png),
        "panoptic PNG, Pillow": lambda: np.array(Image.open(io.BytesIO(png))),
        "JPEG": lambda: decode_image(jpeg),
        "JPEG, Pillow": lambda: np.array(Image.open(io.BytesIO(jpeg))),
    }
    return {name: 1e3 * min(timeit.repeat(call, number=1, repeat=10)) for name, call in calls.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-write", action="store_true")
    parser.add_argument("--large", type=int, default=LARGE, help="pairs of the long run; 0 leaves it out")
    arguments = parser.parse_args()
    record: dict[str, Any] = {
        "hardware": cpu_name(),
        "date": time.strftime("%Y-%m-%d"),
        "load before": os.getloadavg()[0],
        "reader": str(reader_status()),
        "versions": {name: version(name) for name in ("hotcoco", "pycocotools", "numpy", "pillow")},
    }
    rng = np.random.default_rng(0)
    pairs = [make_pair(rng) for _ in range(SMALL)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for count, rounds in ((SMALL, ROUNDS), (arguments.large, 1)):
            paths = write_folders(folder / str(count), pairs, count)
            for threads in (1, None) if count else ():
                title = f"{count} pairs from disk, {'one thread' if threads else 'all cores'}"
                programs = [p for p in PROGRAMS if p != "panopticapi" or count == SMALL or threads is None]
                record[title] = from_disk(programs, paths, threads, rounds, folder)
                print(f"{title}\n{json.dumps(record[title], indent=1)}", flush=True)
    for title, measured in (
        ("milliseconds of decoding", decoding(pairs)),
        ("pairs in memory", in_memory(pairs[:40])),
        ("agreement with panopticapi", agreement(1000)),
        ("average precision", average_precision(150, ROUNDS)),
    ):
        record[title] = measured
        print(f"{title}\n{json.dumps(measured, indent=1)}", flush=True)
    if not arguments.no_write:
        (RESULTS / "evaluators.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
