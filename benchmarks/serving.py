"""A served model under load: requests lost, latency and rate with batches, against one at a time in the same run.

    python benchmarks/serving.py [--seconds 30] [--clients 16]

A server is started by `serve` in a process of its own, once with `--batch 1` and once with `--batch 8`, on an untrained
network as wide as that of `shapes_smoke` and generated pictures of 128×192. One client asks at a time, then `--clients`
at once; each sends the next picture when it has its answer. Every answer is checked: 200 with a map of the right size,
or lost. Prints a table and writes `benchmarks/results/serving.json`.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet import Predictor, build_model
from aunet.data.coco_panoptic import decode_panoptic
from benchmarks.machine import RESULTS, cpu_name
from pipelines import presets
from pipelines.training.checkpoint import save_model
from tests.cityscapes import png
from tests.serving import serving
from tests.tiny import CATEGORIES

HEIGHT, WIDTH, NUM_PICTURES = 128, 192, 16
BATCHES = (1, 8)


def write_model(folder: Path) -> None:
    """The network of `shapes_smoke`, untrained."""
    config = presets.shapes_smoke()
    torch.manual_seed(0)
    network = build_model(config.model, CATEGORIES)
    predictor = Predictor(network, config.model, CATEGORIES, config.augment, config.fusion)
    save_model(folder, predictor.model.state_dict(), predictor.settings())


def load(address: str, pictures: list[bytes], clients: int, seconds: float) -> dict[str, Any]:
    """What so many clients see."""
    latencies: list[float] = []
    lost: list[str] = []
    end = time.monotonic() + seconds
    lock = threading.Lock()

    def ask(client: int) -> None:
        session, number = requests.Session(), client
        while time.monotonic() < end:
            started = time.monotonic()
            try:
                answer = session.post(f"{address}/panoptic", data=pictures[number % len(pictures)], timeout=120)
                ids = decode_panoptic(base64.b64decode(answer.json()["panoptic_png"])) if answer.ok else None
                problem = "" if ids is not None and ids.shape == (HEIGHT, WIDTH) else f"status {answer.status_code}"
            except Exception as error:  # noqa: BLE001 - whatever it is, the request is lost
                problem = repr(error)
            with lock:
                if problem:
                    lost.append(problem)
                else:
                    latencies.append(time.monotonic() - started)
            number += 1

    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(clients)))
    elapsed = time.monotonic() - began
    percentiles = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else [float("nan")] * 99
    return {
        "clients": clients,
        "requests": len(latencies) + len(lost),
        "lost": len(lost),
        "problems": sorted(set(lost))[:5],
        "images_per_s": round(len(latencies) / elapsed, 2),
        "p50_ms": round(1000 * percentiles[49], 1),
        "p99_ms": round(1000 * percentiles[98], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--out", type=Path, default=RESULTS / "serving.json")
    options = parser.parse_args()
    noise = np.random.default_rng(0)
    pictures = [png(noise.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)) for _ in range(NUM_PICTURES)]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_model(folder / "model")
        for batch in BATCHES:
            words = ["--model", str(folder / "model"), "--batch", str(batch), "--queue", str(4 * options.clients)]
            with serving(folder / "store", folder, *words) as server:
                load(server.address, pictures, 1, 5.0)  # the first passes are slower
                for clients in (1, options.clients):
                    rows.append({"batch": batch, **load(server.address, pictures, clients, options.seconds)})
                    print(json.dumps(rows[-1]), flush=True)
                server.end()
    single, many = rows[0], rows[-1]
    document = {
        "device": cpu_name(),
        "date": time.strftime("%Y-%m-%d"),
        "load_before": round(os.getloadavg()[0], 1),
        "image": f"{HEIGHT}×{WIDTH}",
        "seconds_per_row": options.seconds,
        "rows": rows,
        "lost": sum(row["lost"] for row in rows),
        "rate_against_one_at_a_time": round(many["images_per_s"] / max(single["images_per_s"], 1e-9), 2),
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{'batch':>5} {'clients':>7} {'requests':>8} {'lost':>4} {'img/s':>7} {'p50 ms':>8} {'p99 ms':>8}")
    for row in rows:
        print(
            f"{row['batch']:>5} {row['clients']:>7} {row['requests']:>8} {row['lost']:>4} {row['images_per_s']:>7} "
            f"{row['p50_ms']:>8} {row['p99_ms']:>8}"
        )


if __name__ == "__main__":
    main()
