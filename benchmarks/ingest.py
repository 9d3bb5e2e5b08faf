"""How fast shards become batches: the feeds beside a plain torch DataLoader, with the ratios of one run.

    python benchmarks/ingest.py

Generated scenes of 640×480 (JPEG and panoptic PNG), resized to a short side of 600 as in `coco_r50`, two images per
batch as on each of eight GPUs, two decoding processes or tasks. Feeds take turns, three times each; the median counts.
The time of a batch ends when the network could use it: masks expanded, on the CPU, by one thread. Beside images per
second stands the CPU time of all processes, which other work on the machine changes less. Prints tables and writes
`benchmarks/results/ingest.json`. Runs for five minutes on two cores; for shards: `benchmarks/preprocess.py`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet.data.augment import Geometry, augment
from aunet.data.coco_panoptic import decode_image, decode_panoptic
from aunet.data.sample import decode_sample, pack, pack_target
from aunet.data.shapes import write_scenes
from benchmarks.machine import cpu_name, cpu_seconds, proportional_bytes, with_descendants
from benchmarks.preprocess import HEIGHT, WIDTH, config_of
from pipelines import presets
from pipelines.data.ingest import FIRST_BATCHES, StepDecoder, training_batches
from pipelines.data.sample_plan import SamplePlan
from pipelines.data.shards import ShardReader
from pipelines.preprocess import preprocess
from pipelines.runtime.cluster import connect
from pipelines.settings.run_config import FeedConfig
from pipelines.store import storage

RESIZED = (600, 800)
BATCH, WORKERS, ROUNDS = 2, 2, 3
SETTLED = FIRST_BATCHES + 4 * WORKERS
"""Batches that do not count for the rate: until the helpers have started and their queues are full."""
AUGMENT = presets.coco_r50().augment
RESULTS = Path(__file__).parent / "results" / "ingest.json"


def decoder_of(prepared_uri: str, epochs: int, *, verify: bool = True) -> StepDecoder:
    reader = ShardReader(prepared_uri, "train", verify=verify)
    return StepDecoder(
        reader, SamplePlan(len(reader), BATCH, epochs, 0), reader.manifest.categories, AUGMENT, "one", 0, 1, 1
    )


class Plain(Dataset[Any]):
    """Files, PIL, and complete targets from the worker, as detection training is usually written."""

    def __init__(self, raw: Path) -> None:
        self.raw, plain = raw, json.loads((raw / "annotations/panoptic_train.json").read_text())
        self.things = {c["id"] for c in plain["categories"] if c["isthing"]}
        self.annotations = plain["annotations"]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, Any]]:
        from PIL import Image
        from torchvision.ops import masks_to_boxes
        from torchvision.transforms.v2 import InterpolationMode, functional as F

        annotation = self.annotations[index]
        name = Path(annotation["file_name"]).stem
        image = F.pil_to_tensor(Image.open(self.raw / "train" / f"{name}.jpg").convert("RGB"))
        rgb = torch.from_numpy(np.array(Image.open(self.raw / "annotations/panoptic_train" / f"{name}.png"))).int()
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 256**2 * rgb[..., 2]
        image = F.resize(image, list(RESIZED), antialias=True)
        ids = F.resize(ids[None], list(RESIZED), interpolation=InterpolationMode.NEAREST_EXACT)[0]
        if torch.rand(()) < 0.5:
            image, ids = image.flip(-1), ids.flip(-1)
        semantic = torch.full(RESIZED, -1)
        for segment in annotation["segments_info"]:
            semantic[ids == segment["id"]] = segment["category_id"]
        things = [s for s in annotation["segments_info"] if s["category_id"] in self.things and not s["iscrowd"]]
        masks = ids == torch.tensor([s["id"] for s in things]).view(-1, 1, 1)
        masks = masks[masks.flatten(1).any(1)]
        target = {"boxes": masks_to_boxes(masks), "masks": masks.to(torch.uint8), "semantic": semantic}
        return image, target


def plain_batches(raw: Path, count: int) -> Iterator[Any]:
    """A plain DataLoader's batches over shuffled epochs, without a pause between them."""
    dataset = Plain(raw)
    number = len(dataset.annotations)
    order = [int(i) for _ in range(-(-count * BATCH // number)) for i in torch.randperm(number)]
    settings = {"num_workers": WORKERS, "collate_fn": list, "multiprocessing_context": "forkserver"}
    return iter(DataLoader(dataset, batch_size=BATCH, sampler=order, **settings))


def feed_batches(prepared_uri: str, kind: Any, epochs: int) -> Iterator[Any]:
    batches = training_batches(decoder_of(prepared_uri, epochs), 0, FeedConfig(kind=kind, workers=WORKERS))
    return (batch.to("cpu") for batch in batches)


def rate(start: Callable[[], Iterator[Any]], count: int) -> tuple[float, float, float]:
    """Seconds to the first batch; once the feed has settled, images per second, and seconds of CPU for each image."""
    started = time.perf_counter()
    batches = start()
    next(batches)
    first = time.perf_counter() - started
    for _ in range(SETTLED - 1):
        next(batches)
    settled, cpu = time.perf_counter(), cpu_seconds(os.getpid())
    for _ in range(count - SETTLED):
        next(batches)
    seconds, cpu = time.perf_counter() - settled, cpu_seconds(os.getpid()) - cpu
    del batches
    images = (count - SETTLED) * BATCH
    return first, images / seconds, cpu / images


def compare_feeds(raw: Path, prepared_uri: str, epochs: int) -> dict[str, Any]:
    count = decoder_of(prepared_uri, epochs).plan.num_steps
    feeds: dict[str, Callable[[], Iterator[Any]]] = {
        "plain": functools.partial(plain_batches, raw, count),
        "torch": functools.partial(feed_batches, prepared_uri, "torch", epochs),
        "ray": functools.partial(feed_batches, prepared_uri, "ray", epochs),
    }
    timings: dict[str, list[tuple[float, float, float]]] = {name: [] for name in feeds}
    for _ in range(ROUNDS):
        for name, start in feeds.items():
            timings[name].append(rate(start, count))
    first, rates, cpu = (
        {name: statistics.median(one[k] for one in rounds) for name, rounds in timings.items()} for k in range(3)
    )
    return {
        "images per second": rates,
        "images per second, all rounds": {name: [one[1] for one in rounds] for name, rounds in timings.items()},
        "milliseconds of CPU per image": {name: 1e3 * seconds for name, seconds in cpu.items()},
        "seconds to the first batch": first,
        "ratios": {"torch / plain": rates["torch"] / rates["plain"], "ray / torch": rates["ray"] / rates["torch"]},
        "ratios of CPU": {"torch / plain": cpu["plain"] / cpu["torch"], "ray / torch": cpu["torch"] / cpu["ray"]},
    }


def cost_of_verifying(prepared_uri: str) -> dict[str, float]:
    """One process decodes every image with and without hashing its row, in turns."""
    times: dict[bool, list[float]] = {True: [], False: []}
    decoders = {verify: decoder_of(prepared_uri, 1, verify=verify) for verify in times}
    num_steps = decoders[True].plan.num_steps
    for n in range(ROUNDS + 1):
        for verify, decoder in decoders.items():
            started = time.process_time()
            for step in range(num_steps):
                decoder[step]
            if n:  # the first round fills the caches
                times[verify].append(time.process_time() - started)
    with_hash, without = min(times[True]), min(times[False])
    return {"per cent": 100 * (with_hash / without - 1), "images per second and core": BATCH * num_steps / with_hash}


def milliseconds_by_step(prepared_uri: str) -> dict[str, float]:
    """Milliseconds of one thread for each step of an image's way, the median over images."""
    decoder = decoder_of(prepared_uri, 1, verify=False)
    reader, categories = decoder.reader, decoder.categories
    geometry = Geometry(0, 0, HEIGHT, WIDTH, size=RESIZED, flip=True, canvas=RESIZED)
    milliseconds: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        result, times = None, []
        for _ in range(3):
            started = time.perf_counter()
            result = call()
            times.append(1e3 * (time.perf_counter() - started))
        milliseconds.setdefault(name, []).append(min(times))
        return result

    torch.set_num_threads(1)
    for index in range(0, len(reader), 4):
        row = timed("row from the cache", lambda i=index: reader.row(i))
        timed("JPEG", lambda r=row: decode_image(r["image"]))
        timed("panoptic PNG", lambda r=row: decode_panoptic(r["panoptic"]))
        sample = timed("JPEG, PNG and segment map", lambda r=row: decode_sample(r, categories))
        timed("resize and mirror the image", lambda s=sample: geometry.image(s.image))
        timed("resize and mirror the map", lambda s=sample: geometry.labels(s.segment_map))
        sample = augment(sample, AUGMENT, np.random.default_rng(index))
        target = timed("boxes and labels", lambda s=sample: pack_target(s, categories, "one"))
        batch = timed("pad into a batch", lambda s=sample, t=target: pack([s], [t]))
        timed("masks and semantic map, in the training process", lambda b=batch: b.to("cpu"))
    return {name: statistics.median(times) for name, times in milliseconds.items()}


def memory(prepared_uri: str, kind: str, epochs: int) -> list[float]:
    """Megabytes of this process and all that it started, at the end of each epoch; shared pages count once."""
    batches = feed_batches(prepared_uri, kind, epochs)
    per_epoch, megabytes = decoder_of(prepared_uri, 1).plan.num_steps, []
    for n, _ in enumerate(batches, start=1):
        if n % per_epoch == 0:
            megabytes.append(sum(map(proportional_bytes, with_descendants(os.getpid()))) / 2**20)
    return megabytes


def show(title: str, rows: dict[str, Any]) -> None:
    print(f"\n{title}")
    for name, value in rows.items():
        text = json.dumps(value) if isinstance(value, list | dict) else f"{value:.4g}"
        print(f"  {name:48} {text}", flush=True)


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: rounded(v) for name, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--no-write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUNET_STORE"] = storage.join(folder, "store")
        connect(num_cpus=WORKERS)
        raw = Path(folder) / "raw"
        write_scenes(raw, num_train=arguments.images, num_val=2, height=HEIGHT, width=WIDTH)
        uri = preprocess(config_of(raw)).uri
        record: dict[str, Any] = {
            "hardware": cpu_name(),
            "date": time.strftime("%Y-%m-%d"),
            "load": [round(value, 1) for value in os.getloadavg()],
            "torch": torch.__version__,
            "images": arguments.images,
        }
        for title, measure in {
            "milliseconds per image, one thread": milliseconds_by_step,
            "verifying the rows": cost_of_verifying,
            "feeds": lambda uri: compare_feeds(raw, uri, epochs=4),
            "megabytes after each epoch": lambda uri: {k: memory(uri, k, 10) for k in ("torch", "ray")},
        }.items():
            record[title] = rounded(measure(uri))
            show(title, record[title])
    if not arguments.no_write:
        RESULTS.write_text(json.dumps(rounded(record), indent=1) + "\n")
        print(f"\nwritten to {RESULTS.relative_to(RESULTS.parent.parent.parent)}")


if __name__ == "__main__":
    main()
