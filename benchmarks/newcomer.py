"""From a LabelMe folder of 30 photos to a trained model and its report, by docs/your_data.md alone: minutes, commands.

    AUNET_SAMPLE_DATA=/path/to/samples python benchmarks/newcomer.py FOLDER

Photos and polygons come from CamVid's training images, in nested folders; new photos from its validation images. The
commands are those of the page, unchanged, in a checkout that is made in FOLDER. Killed, or after a command that failed,
the same goes on with that command; the time of all attempts counts. The table goes to stdout and to
`benchmarks/results/newcomer.json`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import RESULTS, cpu_name
from tests.labelme import write_labelme
from tests.newcomer import checkout, follow, walkthrough, words_of

NUM_PHOTOS, NUM_NEW = 30, 6
METRICS = ("PQ", "PQ_th", "PQ_st", "mIoU")


def main(folder: Path) -> int:
    """Follow the page, print what each command took."""
    kept = folder / "steps.json"
    if not kept.exists():
        _prepare(folder)
    state = json.loads(kept.read_text()) if kept.exists() else {"done": 0, "load": os.getloadavg()[0], "commands": []}
    commands = walkthrough()
    for step in follow(commands[state["done"] :], folder, 7200):
        row = {"verb": words_of(step.command)[0], "seconds": round(step.seconds, 1), "exit_code": step.exit_code}
        row |= {key: round(step.result[key], 1) for key in METRICS if row["verb"] == "run" and step.result.get(key)}
        state["commands"].append(row)
        state["done"] += step.exit_code == 0
        kept.write_text(json.dumps(state))
        print(f"{step.seconds:8.1f} s  {step.command}", flush=True)
        if step.exit_code:
            print(step.stderr[-3000:], file=sys.stderr)
            return 1
    minutes = sum(row["seconds"] for row in state["commands"]) / 60
    loads = [round(state["load"], 1), round(os.getloadavg()[0], 1)]
    print(f"{len(commands)} commands, {minutes:.1f} minutes; load {loads[0]} … {loads[1]} on {cpu_name()}")
    result = {
        "machine": cpu_name(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": loads,
        "photos": NUM_PHOTOS,
        "minutes": round(minutes, 1),
        "commands": state["commands"],
    }
    (RESULTS / "newcomer.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _prepare(folder: Path) -> None:
    """A checkout, and photos: labelled ones in nested folders, and new ones."""
    source = Path(os.environ["AUNET_SAMPLE_DATA"]).resolve() / "camvid_panoptic"
    checkout(folder)
    write_labelme(source, "train", folder / "my_photos", NUM_PHOTOS)
    (folder / "new_photos").mkdir()
    for photo in sorted((source / "val").iterdir())[:NUM_NEW]:
        shutil.copyfile(photo, folder / "new_photos" / photo.name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/newcomer.py FOLDER")
    sys.exit(main(Path(sys.argv[1]).resolve()))
