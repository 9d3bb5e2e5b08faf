"""Table 1 in miniature: the seven rows and the controls, with the same budget, data order, seeds and initial weights.

    AUNET_SAMPLE_DATA=/path/to/samples python benchmarks/table1.py --store DIR [--base camvid_lite0] [--seeds 0 1 2] \
        [--rows e2e gain aunet …] [--at-once 2] [--summary]

As in the paper, all rows start from one trained backbone and everything else from scratch: with `camvid_lite0` from
ImageNet's weights (extra `samples`); with `camvid_small` from the backbone of an `e2e` network that is first trained on
the same images (without attention, so it favours no row). Runs on scenes, `shapes_ambiguous`, start from nothing.

Every run is a run of the pipeline in the store: what already exists is not done again, so the command resumes where it
was stopped, seed by seed. `--summary` prints what there is. The table has the means, and the paired differences from
`e2e` and from `gain` with 95 % intervals; results/table1_BASE.json has every figure.
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
from benchmarks.paired import REFERENCES, difference, differences, summary
from pipelines import presets
from pipelines.evaluate import evaluate
from pipelines.preprocess import preprocess
from pipelines.settings.run_config import RunConfig
from pipelines.settings.variants import CONTROLS, TABLE_1, table_1_row
from pipelines.store import storage
from pipelines.train import train
from pipelines.training.identity import run_folder

METRICS = ("PQ", "PQ_th", "PQ_st", "AP", "mIoU")
COMPARED = ("PQ", "PQ_st", "mIoU")
BASES = ("camvid_lite0", "camvid_small", "shapes_ambiguous")


def small(base: str, epochs: int, num_workers: int, **train_changes: object) -> RunConfig:
    """A preset of CamVid, its images at 0.8 of their size, or one of generated scenes at its own."""
    config: RunConfig = getattr(presets, base)()
    train = replace(config.train, epochs=epochs, num_workers=num_workers, **train_changes)
    if not base.startswith("camvid"):
        return replace(config, train=train)
    return replace(
        config,
        augment=replace(presets.camvid_small().augment, short_sides=(288,), max_size=384, crop=(160, 208)),
        fusion=replace(config.fusion, stuff_area=512),
        train=train,
    )


def trained_backbone(store: Path) -> Path:
    """State dict in torchvision's names of the backbone that all rows start from, its hash in the file's name."""
    import ray
    from safetensors.torch import load, save

    if known := sorted(store.glob("resnet18-*.safetensors")):
        return known[0]
    config = replace(table_1_row(small("camvid_small", 20, 2), "e2e"), name="table1_backbone")
    content = storage.read_bytes(storage.join(train(config, preprocess(config)).model_uri, "model.safetensors"))
    body = "backbone.body."
    state = {name.removeprefix(body): value for name, value in load(content).items() if name.startswith(body)}
    weights = save(state)
    path = store / f"resnet18-{hashlib.sha256(weights).hexdigest()[:16]}.safetensors"
    path.write_bytes(weights)
    ray.shutdown()
    return path


def row_config(base: str, row: str, seed: int, weights: Path | None) -> RunConfig:
    """One run in batches of 8, one process: 8 epochs of CamVid, 6 of generated scenes."""
    epochs = 8 if base.startswith("camvid") else 6
    config = table_1_row(small(base, epochs, 1, batch_size=8, warmup_steps=50, seed=seed), row)
    backbone = config.model.backbone if weights is None else replace(config.model.backbone, weights=str(weights))
    name = f"table1_{row}" if base == "camvid_small" else f"table1_{base}_{row}"
    return replace(config, name=name, model=replace(config.model, backbone=backbone))


def main() -> None:
    """Train what is missing, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--base", choices=BASES, default=BASES[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=[*TABLE_1, *CONTROLS], default=[*TABLE_1, *CONTROLS])
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="runs side by side, one core each")
    parser.add_argument("--summary", action="store_true", help="only print the table of the runs that there are")
    parser.add_argument("--share", type=int, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    store: Path = arguments.store.resolve()
    os.environ |= {"AUNET_STORE": str(store), "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow-{arguments.share}.db"}
    store.mkdir(parents=True, exist_ok=True)
    weights = trained_backbone(store) if arguments.base == "camvid_small" else None
    configs = {
        (row, seed): row_config(arguments.base, row, seed, weights)
        for seed in arguments.seeds
        for row in arguments.rows
    }
    if arguments.share is not None:
        do_share([*configs.values()][arguments.share :: arguments.at_once])
        return
    if not arguments.summary:
        run_all([sys.executable, *sys.argv], arguments.at_once)
    lines = [{"row": row, "seed": seed, **run} for (row, seed), c in configs.items() if (run := reported(c))]
    print(summary(lines, arguments.rows, METRICS, COMPARED))
    print("\nmean M' on things / stuff")
    attention = {row: contrast([line["attention"] for line in lines if line["row"] == row]) for row in arguments.rows}
    for row, maps in attention.items():
        print(f"{row:10}", *(f"{name} {m['things']:.3f} / {m['stuff']:.3f}" for name, m in maps.items()), sep="   ")
    name = "table1.json" if arguments.base == "camvid_small" else f"table1_{arguments.base}.json"
    document = {
        "date": datetime.date.today().isoformat(),
        "device": cpu_name(),
        "base": arguments.base,
        "differences": {
            f"{row} - {other}": {
                m: difference(values) for m in COMPARED if (values := differences(lines, row, other, m))
            }
            for row in arguments.rows
            for other in REFERENCES
            if row != other
        },
        "attention": attention,
        "runs": lines,
    }
    (RESULTS / name).write_text(json.dumps(document, indent=1) + "\n")


def do_share(configs: list[RunConfig]) -> None:
    """Do the runs of one process."""
    for config in configs:
        prepared = preprocess(config)
        evaluate(config, train(config, prepared), prepared)


def run_all(command: list[str], at_once: int) -> None:
    """Do all runs, in so many processes of this file."""
    processes = [subprocess.Popen([*command, "--share", str(n)], stdout=sys.stderr) for n in range(at_once)]
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit("a run failed; see above. The same command continues with the others.")


def reported(config: RunConfig) -> dict[str, Any] | None:
    """The figures of a run, and M' on things and stuff of each of its attention maps; None: it is not measured yet."""
    run = run_folder(config, preprocess(config))
    if run.trained() is None or run.report().report() is None:
        return None
    report = json.loads(storage.read_bytes(run.report().document_uri))
    return {name: round(report[name], 3) for name in METRICS} | {"attention": report["attention"], "run": run.name}


def contrast(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The mean over the seeds, map by map."""
    return {
        name: {where: round(statistics.mean(run[name][where] for run in runs), 4) for where in ("things", "stuff")}
        for name in (runs[0] if runs else ())
    }


if __name__ == "__main__":
    main()
