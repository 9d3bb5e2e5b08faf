"""Table 1 in miniature: the seven rows on CamVid, with the same budget, data order and seeds.

    AUNET_SAMPLE_DATA=/path/to/samples python benchmarks/table1.py --store DIR [--seeds 0 1 2] [--at-once 2]

As in the paper, all rows start from one trained backbone and everything else from scratch. The backbone here is that of
an `e2e` network, trained on the same images (without attention, so it favours no row). Every run is a run of the
pipeline in the store: what already exists is not done again, so the command resumes where it was stopped. Prints mean ±
standard deviation over the seeds; writes results/table1.json.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import RESULTS, cpu_name
from pipelines import presets
from pipelines.evaluate import evaluate, find_report
from pipelines.preprocess import preprocess
from pipelines.settings.run_config import RunConfig
from pipelines.settings.variants import TABLE_1, table_1_row
from pipelines.store import storage
from pipelines.train import find_run, train
from pipelines.training.identity import run_folder

METRICS = ("PQ", "PQ_th", "PQ_st", "AP", "mIoU")


def small(epochs: int, num_workers: int, **train_changes: object) -> RunConfig:
    """`camvid_small` at 0.8 of its size."""
    base = presets.camvid_small()
    return replace(
        base,
        augment=replace(base.augment, short_sides=(288,), max_size=384, crop=(160, 208)),
        fusion=replace(base.fusion, stuff_area=512),
        train=replace(base.train, epochs=epochs, num_workers=num_workers, **train_changes),
    )


def trained_backbone(store: Path) -> Path:
    """State dict in torchvision's names of the backbone that all rows start from, its hash in the file's name."""
    import ray
    from safetensors.torch import load, save

    config = replace(table_1_row(small(20, 2), "e2e"), name="table1_backbone")
    content = storage.read_bytes(storage.join(train(config, preprocess(config)).model_uri, "model.safetensors"))
    body = "backbone.body."
    state = {name.removeprefix(body): value for name, value in load(content).items() if name.startswith(body)}
    weights = save(state)
    path = store / f"resnet18-{hashlib.sha256(weights).hexdigest()[:16]}.safetensors"
    path.write_bytes(weights)
    ray.shutdown()
    return path


def row_config(row: str, seed: int, weights: Path) -> RunConfig:
    """One run: 8 epochs in batches of 8, one process."""
    config = table_1_row(small(8, 1, batch_size=8, warmup_steps=50, seed=seed), row)
    backbone = replace(config.model.backbone, weights=str(weights))
    return replace(config, name=f"table1_{row}", model=replace(config.model, backbone=backbone))


def summary(values: list[float]) -> dict[str, float]:
    """Mean and standard deviation."""
    return {"mean": round(statistics.mean(values), 2), "sd": round(statistics.stdev(values), 2) if values[1:] else 0.0}


def main() -> None:
    """Train what is missing, then print and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="runs side by side, one core each")
    parser.add_argument("--share", type=int, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    store: Path = arguments.store.resolve()
    os.environ |= {"AUNET_STORE": str(store), "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow-{arguments.share}.db"}
    store.mkdir(parents=True, exist_ok=True)
    known = sorted(store.glob("resnet18-*.safetensors"))
    weights = known[0] if known else trained_backbone(store)
    jobs = [(row, seed) for seed in arguments.seeds for row in TABLE_1]
    if arguments.share is not None:
        for row, seed in jobs[arguments.share :: arguments.at_once]:
            config = row_config(row, seed, weights)
            prepared = preprocess(config)
            evaluate(config, train(config, prepared), prepared)
        return
    processes = [
        subprocess.Popen([sys.executable, *sys.argv, "--share", str(number)], stdout=sys.stderr)
        for number in range(arguments.at_once)
    ]
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit("a run failed; see above. The same command continues with the others.")
    runs = {row: [reported(row_config(row, seed, weights)) for seed in arguments.seeds] for row in TABLE_1}
    table = {row: {m: summary([run[m] for run in reports]) for m in METRICS} for row, reports in runs.items()}
    print("| row | " + " | ".join(METRICS) + " |\n" + "|---" * (len(METRICS) + 1) + "|")
    for row, figures in table.items():
        print(f"| `{row}` | " + " | ".join(f"{f['mean']:.1f} ± {f['sd']:.1f}" for f in figures.values()) + " |")
    attention = {row: contrast([run["attention"] for run in reports]) for row, reports in runs.items()}
    print("\nmean M' on things / stuff")
    for row, maps in attention.items():
        print(f"{row:8}", *(f"{name} {m['things']:.3f} / {m['stuff']:.3f}" for name, m in maps.items()), sep="   ")
    document = {
        "date": datetime.date.today().isoformat(),
        "device": cpu_name(),
        "seeds": arguments.seeds,
        "table": table,
        "attention": attention,
        "runs": runs,
    }
    (RESULTS / "table1.json").write_text(json.dumps(document, indent=1) + "\n")


def reported(config: RunConfig) -> dict[str, Any]:
    """The figures of a finished run, and M' on things and stuff of each of its attention maps."""
    run = find_run(run_folder(config, preprocess(config)))
    report = json.loads(storage.read_bytes(find_report(run).uri))
    return {name: round(report[name], 3) for name in METRICS} | {"attention": report["attention"]}


def contrast(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The mean over the seeds, map by map."""
    return {
        name: {where: round(statistics.mean(run[name][where] for run in runs), 4) for where in ("things", "stuff")}
        for name in runs[0]
    }


if __name__ == "__main__":
    main()
