"""Hours and memory of the paper's presets by the model behind `plan`, without their data: for docs/reproduce_paper.md.

    python benchmarks/paper_costs.py

The number of images and categories is all that the model needs of a data set. Figures are predictions: the network's
operations over an assumed 20 % of a GPU's peak, see `pipelines/training/gpus.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet.categories import Categories, Category
from aunet.data import cityscapes
from pipelines.presets import PRESETS
from pipelines.training.identity import num_steps
from pipelines.training.outlook import input_size, predict

NAMES = ("coco_r50", "coco_r50_e2e", "coco_r101", "coco_r152", "coco_x152", "cityscapes_r50", "cityscapes_r101")
GPUS = ("V100-SXM2-32GB", "A100-SXM4-40GB", "H100 80GB HBM3")
COCO = Categories(tuple(Category(id=n, name=f"category {n}", is_thing=n <= 80) for n in range(1, 134)))
"""As many things and kinds of stuff as MS-COCO has."""
IMAGES = {"coco": 118_287, "cityscapes": 2_975}


def main() -> None:
    """Print the table."""
    print("| preset | steps | largest input | GB of a GPU | " + " | ".join(f"hours, 8 × {gpu}" for gpu in GPUS) + " |")
    print("|---" * (4 + len(GPUS)) + "|")
    for name in NAMES:
        config, data = PRESETS[name](), name.split("_")[0]
        categories = COCO if data == "coco" else cityscapes.CATEGORIES
        forecasts = [predict(config, categories, gpu) for gpu in GPUS]
        steps = num_steps(config, IMAGES[data])
        hours = [f"{steps * (forecast.step_s or 0) / 3600:.1f}" for forecast in forecasts]
        size, memory = "×".join(map(str, input_size(config.augment))), f"{forecasts[0].memory.total / 1e9:.1f}"
        print(f"| `{name}` | {steps:,} | {size} | {memory} | {' | '.join(hours)} |", flush=True)


if __name__ == "__main__":
    main()
