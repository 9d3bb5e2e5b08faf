"""Rows of one table as runs of the pipeline: several seeds each, side by side on one core each, with common randomness.

What a benchmark has to say is which configuration a row and a seed have. Every run lies in the store of `--store`: what
is there already is not done again, so a command resumes where it was stopped, and `--summary` only reads what there is.
Nor is a run done again whose figures are in `results/`: more seeds can be added on another machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, cpu_name
from benchmarks.paired import Line, difference, differences
from pipelines import presets
from pipelines.evaluate import evaluate
from pipelines.preprocess import preprocess
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.run_folder import RunFolder
from pipelines.train import train
from pipelines.training.identity import run_folder

METRICS = ("PQ", "PQ_th", "PQ_st", "AP", "mIoU")
COMPARED = ("PQ", "PQ_st", "mIoU")
Runs = Mapping[tuple[str, int], RunConfig]
"""Configurations by row and seed."""


def parser(description: str | None, seeds: Sequence[int] = (0, 1, 2)) -> argparse.ArgumentParser:
    """What all of these commands understand."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--store", type=Path, required=True)
    made.add_argument("--seeds", type=int, nargs="+", default=[*seeds])
    made.add_argument("--at-once", type=int, default=os.cpu_count(), help="runs side by side, one core each")
    made.add_argument("--summary", action="store_true", help="only print the table of the runs that there are")
    made.add_argument("--share", type=int, default=None, help=argparse.SUPPRESS)
    return made


def use_store(arguments: argparse.Namespace) -> Path:
    """Make the store, and this process use it, with an MLflow database of its own."""
    store: Path = arguments.store.resolve()
    os.environ |= {"AUNET_STORE": str(store), "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow-{arguments.share}.db"}
    store.mkdir(parents=True, exist_ok=True)
    return store


def small(base: str, epochs: int, num_workers: int, **train_changes: object) -> RunConfig:
    """A preset of CamVid, its images at 0.8 of the size in `camvid_small`, or one of generated scenes at its own.

    Fusion is that of `camvid_small` too: that of `camvid_lite0` was chosen on predictions of one of the rows.
    """
    config: RunConfig = getattr(presets, base)()
    training = replace(config.train, epochs=epochs, num_workers=num_workers, **train_changes)
    if not base.startswith("camvid"):
        return replace(config, train=training)
    usual = presets.camvid_small()
    return replace(
        config,
        augment=replace(usual.augment, short_sides=(288,), max_size=384, crop=(160, 208)),
        fusion=replace(usual.fusion, stuff_area=512),
        train=training,
    )


def measured(runs: Runs, arguments: argparse.Namespace, document: str) -> list[Line]:
    """Do what is missing, `--at-once` runs at a time, and return the figures of all.

    One of those processes, which `--share` tells, does its own runs and ends.

    Args:
        document: file in `benchmarks/results` with the figures of earlier runs.
    """
    known = kept(document)
    folders = {place: run_folder(config, preprocess(config)) for place, config in runs.items()}
    if arguments.share is not None:
        missing = [config for place, config in runs.items() if folders[place].name not in known]
        for config in missing[arguments.share :: arguments.at_once]:
            prepared = preprocess(config)
            evaluate(config, train(config, prepared), prepared)
        sys.exit()
    if not arguments.summary:
        command = [sys.executable, *sys.argv]
        shares = range(arguments.at_once)
        processes = [subprocess.Popen([*command, "--share", str(n)], stdout=sys.stderr) for n in shares]
        codes = [process.wait() for process in processes]
        if any(codes):
            sys.exit("a run failed; see above. The same command continues with the others.")
    figures = {place: known.get(run.name) or reported(run) for place, run in folders.items()}
    return [{"row": row, "seed": seed, **run} for (row, seed), run in figures.items() if run]


def kept(document: str) -> dict[str, Line]:
    """The runs in `benchmarks/results/DOCUMENT` by their names, which say all that a run depends on but the machine."""
    path = RESULTS / document
    content = json.loads(path.read_bytes()) if path.exists() else {}
    return {line["run"]: line for line in content["runs"]} if "differences" in content else {}


def reported(run: RunFolder) -> dict[str, Any] | None:
    """The figures of a run, and M' on things and stuff of each of its attention maps; None: it is not measured yet."""
    if run.trained() is None or run.report().report() is None:
        return None
    report = json.loads(storage.read_bytes(run.report().document_uri))
    return {
        **{name: round(report[name], 3) for name in METRICS},
        "attention": report["attention"],
        "device": cpu_name(),
        "run": run.name,
    }


def write_document(name: str, lines: list[Line], rows: Sequence[str], references: Sequence[str], **more: Any) -> None:
    """Keep the figures of all runs and the paired differences of the rows in `benchmarks/results/NAME`."""
    document = {
        "date": datetime.date.today().isoformat(),
        **more,
        "differences": {
            f"{row} - {other}": {
                m: difference(values) for m in COMPARED if (values := differences(lines, row, other, m))
            }
            for row in rows
            for other in references
            if row != other
        },
        "runs": lines,
    }
    (RESULTS / name).write_text(json.dumps(document, indent=1) + "\n")
