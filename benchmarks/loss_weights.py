"""Is the search for λ1–λ4 worth its cost? Found weights on CamVid beside the paper's two, equal and learned ones.

    AUNET_SAMPLE_DATA=/path/to/samples python benchmarks/loss_weights.py --store DIR [--seeds 1 2 3] [--summary]

`found` is what `tune` finds: 12 trials of at most four epochs of `camvid_lite0` at a reduced size, with seed 0. Then
every row is trained for five epochs, with the preset's schedule and seeds that the search has not seen, from the same
initial weights and in the same order of the data. `learned` is `train.loss_weighting = "uncertainty"`, from equal ones
on. All rows have the same geometric mean of their weights. Search and rows resume. Prints the means and the paired
differences from the paper's COCO weights and from equal ones; results/loss_weights.json has every figure.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet.config import LossWeights
from benchmarks.paired import summary
from benchmarks.side_by_side import COMPARED, METRICS, measured, parser, small, use_store, write_document
from pipelines.preprocess import preprocess
from pipelines.settings.job_config import TuneConfig
from pipelines.settings.run_config import RunConfig
from pipelines.study.search import CITYSCAPES, COCO, EQUAL, point_of, weights_of
from pipelines.tune import tune

SEARCH = TuneConfig(num_trials=12, epochs=4, reduction=2, span=10, confirm_seeds=0)
EPOCHS = 5
"""Of every row."""
REFERENCES = ("coco", "equal")
DOCUMENT = "loss_weights.json"


def found_weights() -> LossWeights:
    """What the search has found, which goes on where it was stopped."""
    import ray

    config = replace(base_config(epochs=SEARCH.epochs, seed=0), name="loss_weights_search", tune=SEARCH)
    found = LossWeights(**tune(config, preprocess(config)).best["weights"])
    ray.shutdown()  # the rows start a Ray each
    return found


def base_config(epochs: int, seed: int) -> RunConfig:
    """One run in batches of 8, one process."""
    return small("camvid_lite0", epochs, 1, batch_size=8, warmup_steps=50, seed=seed)


def row_config(row: str, weights: LossWeights, seed: int) -> RunConfig:
    """One run of a row."""
    config = replace(base_config(epochs=EPOCHS, seed=seed), name=f"loss_weights_{row}", loss=weights)
    weighting = "uncertainty" if row == "learned" else "fixed"
    return replace(config, train=replace(config.train, loss_weighting=weighting))


def main() -> None:
    """Search, train what is missing, then print and write the table."""
    arguments = parser(__doc__, seeds=(1, 2, 3)).parse_args()
    use_store(arguments)
    known = {"coco": COCO, "cityscapes": CITYSCAPES, "equal": EQUAL, "learned": EQUAL}
    weights = {row: weights_of(point_of(own, SEARCH.span)) for row, own in known.items()}
    found = found_weights()
    twin = next((row for row, own in weights.items() if own == found), None)
    if twin is None:
        weights["found"] = found
    else:
        print(f"found: the weights of the row {twin}")
    runs = {(row, seed): row_config(row, own, seed) for seed in arguments.seeds for row, own in weights.items()}
    lines = measured(runs, arguments, DOCUMENT)
    print(summary(lines, [*weights], METRICS, COMPARED, references=REFERENCES))
    used = {row: asdict(own) for row, own in {**weights, "found": found}.items()}
    write_document(DOCUMENT, lines, [*weights], REFERENCES, weights=used)


if __name__ == "__main__":
    main()
