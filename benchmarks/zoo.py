"""The page of trained models, docs/models.md, from what is in stores.

    python benchmarks/zoo.py STORE …     adds every run with a report to results/zoo.json, and writes the page anew
    python benchmarks/zoo.py             only writes the page anew, from results/

An entry says which command made a run, its hash, its minutes, its figures and PQ of every category. Runs that differ in
their seed alone are one row, with a 95 % interval over the seeds. The page's second part is the paper's Table 1 beside
ours, from results/table1*.json of benchmarks/table1.py.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet.model_files import WEIGHTS
from benchmarks.machine import RESULTS, cpu_name
from benchmarks.paired import difference
from pipelines.presets import PRESETS
from pipelines.settings.overrides import differences, override
from pipelines.settings.run_config import RunConfig, from_json
from pipelines.store.hashes import check_listing
from pipelines.store.run_folder import RunFolder, read_report

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- written by benchmarks/zoo.py -->", "<!-- end of what benchmarks/zoo.py writes -->"
FIGURES = ("PQ", "PQ_th", "PQ_st", "AP", "mIoU")
SECTIONS = ("model.", "augment.", "loss.", "fusion.", "train.", "data.")
OPERATION = (
    "data.root",
    "train.num_workers",
    "train.use_gpu",
    "train.checkpoint",
    "train.keep",
    "train.evaluate_every",
)
"""Settings that are left out of a command: where the data lies, and how a training is run."""
PAPER = {
    "sep": (-1.1, -1.1),
    "pam": (0.7, 0.6),
    "pam_r": (1.1, 1.3),
    "mam": (0.6, 0.3),
    "mam_r": (0.9, 1.0),
    "aunet": (1.3, 1.3),
}
"""Rows of the paper's Table 1, MS-COCO with ResNet-50: PQ and PQ_st minus those of `e2e`, 38.3 and 23.9."""
Entry = dict[str, Any]


def entry_of(run: RunFolder) -> Entry | None:
    """What the page says of a run; None: it has no report, or its preset is not one of ours."""
    trained, plain = run.trained(), run.config()
    if trained is None or plain is None or run.report().report() is None:
        return None
    config: RunConfig = from_json(RunConfig, plain)
    preset = PRESETS.get(config.name)
    if preset is None:
        return None
    report, times = read_report(run.report().document_uri), [e["at"] for e in run.history.events() if "at" in e]
    measured_with = report.get("settings", {})  # which may be another fusion than the run was trained with
    config = override(config, {name: value for name, value in measured_with.items() if name.startswith("fusion.")})
    changes = {
        name: value
        for name, value in differences(config, preset()).items()
        if name.startswith(SECTIONS) and not name.startswith(OPERATION) and name != "train.seed"
    }
    options = "".join(f" --{name} {_as_option(value)}" for name, value in changes.items())
    return {
        "command": f"aunet run {config.name}{options}",
        "seed": config.train.seed,
        "run": run.name,
        "weights": check_listing(trained.model_uri)[WEIGHTS][:16],
        "steps": trained.steps,
        "minutes": round((max(times) - min(times)) / 60, 1),
        "device": cpu_name(),
        "date": datetime.datetime.fromtimestamp(max(times), datetime.UTC).date().isoformat(),
        **{name: round(report["metrics"][name], 2) for name in FIGURES},
        "per_class": {c["name"]: round(c["PQ"], 2) for c in report["per_class"]},
    }


def _as_option(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def collect(stores: Iterable[str], known: list[Entry]) -> list[Entry]:
    """The known entries and those of the stores, one for each run."""
    entries = {entry["run"]: entry for entry in known}
    for store in stores:
        for folder in sorted(Path(store, "runs").iterdir()):
            if entry := entry_of(RunFolder(str(folder.resolve()))):
                entries[entry["run"]] = entry
    return sorted(entries.values(), key=lambda e: (e["command"], e["seed"]))


def spread(values: Sequence[float]) -> str:
    """The mean, and half of its 95 % interval where there are several."""
    one = difference(list(values))
    return f"{one['mean']:.1f}" + (f" ± {one['half']:.1f}" if "half" in one else "")


def models_table(entries: Sequence[Entry]) -> str:
    """One row for each command, then a table of every category for each set of categories."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry["command"], []).append(entry)
    heads = ["command", "seeds", *FIGURES, "steps", "minutes", "weights"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for command, runs in groups.items():
        figures = [spread([run[name] for run in runs]) for name in FIGURES]
        minutes, hashes = spread([run["minutes"] for run in runs]), ", ".join(f"`{run['weights'][:8]}`" for run in runs)
        cells = [f"`{command}`", str(len(runs)), *figures, str(runs[0]["steps"]), minutes, hashes]
        lines.append(f"| {' | '.join(cells)} |")
    for names in dict.fromkeys(tuple(entry["per_class"]) for entry in entries):
        lines += [
            "",
            "PQ of every category:",
            "",
            f"| command | {' | '.join(names)} |",
            "|---" * (len(names) + 1) + "|",
        ]
        for command, runs in groups.items():
            if tuple(runs[0]["per_class"]) == names:
                cells = [spread([run["per_class"][name] for run in runs]) for name in names]
                lines.append(f"| `{command}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def beside_the_paper(documents: Sequence[dict[str, Any]]) -> str:
    """Differences from `e2e`: the paper's on MS-COCO, and ours of each base with 95 % intervals."""
    bases = [head for document in documents for head in (f"ours, `{document['base']}`: PQ", "PQ_st")]
    heads = ["row", "paper, COCO: PQ", "PQ_st", *bases]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    rows = dict.fromkeys(
        [*PAPER, *(n.removesuffix(" - e2e") for d in documents for n in d["differences"] if n.endswith(" - e2e"))]
    )
    for row in rows:
        cells = [f"{value:+.1f}" for value in PAPER[row]] if row in PAPER else ["", ""]
        for document in documents:
            own = document["differences"].get(f"{row} - e2e", {})
            cells += [
                f"{own[m]['mean']:+.2f} ± {own[m]['half']:.2f}" if "half" in own.get(m, {}) else ""
                for m in ("PQ", "PQ_st")
            ]
        lines.append(f"| `{row}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def written(page: str, entries: Sequence[Entry], documents: Sequence[dict[str, Any]]) -> str:
    """The page with its tables."""
    (head, rest), models = page.split(BEGIN), models_table(entries) if entries else "No run has been collected yet."
    table = f"{models}\n\n## Table 1 of the paper\n\n{beside_the_paper(documents)}"
    return f"{head}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Collect, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="*", help="folders of stores")
    arguments = parser.parse_args()
    file = RESULTS / "zoo.json"
    entries = collect(arguments.stores, json.loads(file.read_text()) if file.exists() else [])
    if entries:
        file.write_text(json.dumps(entries, indent=1) + "\n")
    PAGE.write_text(written(PAGE.read_text(), entries, table_documents()))
    print(f"{len(entries)} runs in {PAGE}")


def table_documents() -> list[dict[str, Any]]:
    """What benchmarks/table1.py has measured with paired differences."""
    documents = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("table1*.json"))]
    return [document for document in documents if "differences" in document]


if __name__ == "__main__":
    main()
