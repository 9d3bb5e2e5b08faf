"""Does a trained model of other categories help? CamVid with six categories of its own, from few annotated images.

    AUNET_SAMPLE_DATA=/path/to/samples python benchmarks/fine_tuning.py --store DIR --model RUN [--images 120] \
        [--seeds 0 1 2] [--summary]

`--model` is a run of `camvid_lite0` or a model folder. The new data set has CamVid's images, but six categories
(`MERGED`) in place of eleven, and only so many training images. It is learned twice, with the same steps, batches and
network, so in equal minutes: `anew` from ImageNet's weights, `fine_tuned` from the model, whose heads start anew where
their shapes differ. Both are runs of the pipeline in the store; the command resumes. Prints the means and the paired
differences, and writes results/fine_tuning.json.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from aunet.data.coco_panoptic import decode_panoptic, encode_panoptic
from benchmarks.paired import summary
from benchmarks.side_by_side import COMPARED, METRICS, measured, parser, small, use_store, write_document
from pipelines.settings.recipes import coco_split, sample_folder
from pipelines.settings.run_config import DataConfig, RunConfig

MERGED = {
    "vehicle": ("car",),
    "person": ("pedestrian", "bicyclist"),
    "sky": ("sky",),
    "ground": ("road", "pavement"),
    "vegetation": ("tree",),
    "structure": ("building", "fence", "pole", "sign_symbol"),
}
"""The new categories, and which of CamVid's are in them."""
ROWS = ("anew", "fine_tuned")
DOCUMENT = "fine_tuning.json"


def write_merged(source: Path, target: Path, num_train: int) -> None:
    """CamVid's images as a data set with the categories of `MERGED`, with `num_train` of the training images."""
    for split in ("train", "val"):
        document = json.loads((source / "annotations" / f"panoptic_{split}.json").read_text())
        old = {c["id"]: c for c in document["categories"]}
        names = {name: new for new, group in MERGED.items() for name in group}
        number = {name: n for n, name in enumerate(MERGED, start=1)}
        things = {names[c["name"]]: c["isthing"] for c in old.values()}
        document["categories"] = [{"id": n, "name": name, "isthing": things[name]} for name, n in number.items()]
        if split == "train":
            chosen = np.random.default_rng(0).permutation(len(document["images"]))[:num_train]
            document["images"] = [document["images"][n] for n in sorted(chosen.tolist())]
        kept = {image["id"] for image in document["images"]}
        document["annotations"] = [a for a in document["annotations"] if a["image_id"] in kept]
        maps, images = target / "annotations" / f"panoptic_{split}", target / split
        maps.mkdir(parents=True, exist_ok=True)
        images.mkdir(exist_ok=True)
        for image in document["images"]:
            shutil.copyfile(source / split / image["file_name"], images / image["file_name"])
        for annotation in document["annotations"]:
            ids = decode_panoptic((source / "annotations" / maps.name / annotation["file_name"]).read_bytes())
            entries: dict[int, dict] = {}
            stuff: dict[int, int] = {}
            for entry in annotation["segments_info"]:
                category_id = number[names[old[entry["category_id"]]["name"]]]
                own = entry["id"]
                if not things[names[old[entry["category_id"]]["name"]]]:
                    own = stuff.setdefault(category_id, own)  # stuff is one segment of each category
                    ids[ids == entry["id"]] = own
                entries[own] = {"id": own, "category_id": category_id, "iscrowd": entry["iscrowd"]}
            for own, entry in entries.items():
                rows, columns = np.nonzero(ids == own)
                x, y = int(columns.min()), int(rows.min())
                box = [x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1]
                entry |= {"area": len(rows), "bbox": box}
            annotation["segments_info"] = [*entries.values()]
            (maps / annotation["file_name"]).write_bytes(encode_panoptic(ids))
        maps.with_suffix(".json").write_text(json.dumps(document))


def row_config(row: str, seed: int, data: Path, model: str, epochs: int) -> RunConfig:
    """One run in batches of 8, one process."""
    config = small("camvid_lite0", epochs, 1, batch_size=8, warmup_steps=20, seed=seed)
    network = replace(config.model, init_from=model) if row == "fine_tuned" else config.model
    data_config = DataConfig(
        root=str(data), train=coco_split("train", "train"), val=coco_split("val", "val"), rows_per_shard=64
    )
    return replace(config, name=f"fine_tuning_{row}", data=data_config, model=network)


def main() -> None:
    """Train what is missing, then print and write the comparison."""
    understood = parser(__doc__)
    understood.add_argument(
        "--model", required=True, type=lambda text: str(Path(text).resolve()), help="where to start"
    )
    understood.add_argument("--images", type=int, default=120, help="training images of the new data set")
    understood.add_argument("--epochs", type=int, default=8)
    arguments = understood.parse_args()
    data = use_store(arguments) / f"camvid_merged_{arguments.images}"
    if not data.exists():
        begun = data.with_suffix(".begun")
        write_merged(Path(sample_folder("camvid_panoptic")), begun, arguments.images)
        begun.rename(data)
    runs = {
        (row, seed): row_config(row, seed, data, arguments.model, arguments.epochs)
        for seed in arguments.seeds
        for row in ROWS
    }
    lines = measured(runs, arguments, DOCUMENT)
    print(summary(lines, ROWS, METRICS, COMPARED, references=("anew",)))
    sizes = {"images": arguments.images, "epochs": arguments.epochs}
    write_document(DOCUMENT, lines, ROWS, ("anew",), **sizes)


if __name__ == "__main__":
    main()
