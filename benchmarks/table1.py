"""Table 1 in miniature: the seven rows and the controls, with the same budget, data order, seeds and initial weights.

    AUNET_SAMPLE_DATA=/path/to/samples python benchmarks/table1.py --store DIR [--base camvid_lite0] [--seeds 0 1 2] \
        [--rows e2e gain aunet …] [--at-once 2] [--summary]

As in the paper, all rows start from one trained backbone and everything else from scratch: with `camvid_lite0` from
ImageNet's weights (extra `samples`); with `camvid_small` from the backbone of an `e2e` network that is first trained on
the same images (without attention, so it favours no row). Runs on scenes, `shapes_ambiguous`, start from nothing.

The command resumes where it was stopped, seed by seed; `--summary` prints what there is. The table has the means, and
the paired differences from `e2e` and from `gain` with 95 % intervals; results/table1_BASE.json has every figure.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.paired import REFERENCES, summary
from benchmarks.side_by_side import COMPARED, METRICS, measured, parser, small, use_store, write_document
from pipelines.preprocess import preprocess
from pipelines.settings.run_config import RunConfig
from pipelines.settings.variants import CONTROLS, TABLE_1, table_1_row
from pipelines.store import storage
from pipelines.train import train

BASES = ("camvid_lite0", "camvid_small", "shapes_ambiguous")


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
    understood = parser(__doc__)
    understood.add_argument("--base", choices=BASES, default=BASES[0])
    understood.add_argument("--rows", nargs="+", choices=[*TABLE_1, *CONTROLS], default=[*TABLE_1, *CONTROLS])
    arguments = understood.parse_args()
    store, base, rows = use_store(arguments), arguments.base, arguments.rows
    weights = trained_backbone(store) if base == "camvid_small" else None
    runs = {(row, seed): row_config(base, row, seed, weights) for seed in arguments.seeds for row in rows}
    document = "table1.json" if base == "camvid_small" else f"table1_{base}.json"
    lines = measured(runs, arguments, document)
    print(summary(lines, rows, METRICS, COMPARED))
    print("\nmean M' on things / stuff")
    attention = {row: contrast([line["attention"] for line in lines if line["row"] == row]) for row in rows}
    for row, maps in attention.items():
        print(f"{row:10}", *(f"{name} {m['things']:.3f} / {m['stuff']:.3f}" for name, m in maps.items()), sep="   ")
    write_document(document, lines, rows, (*REFERENCES, "e2e_conv"), base=base, attention=attention)


def contrast(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The mean over the seeds, map by map."""
    return {
        name: {where: round(statistics.mean(run[name][where] for run in runs), 4) for where in ("things", "stuff")}
        for name in (runs[0] if runs else ())
    }


if __name__ == "__main__":
    main()
