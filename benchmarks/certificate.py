"""The big certificate: 43 faults through Ray, 200 interruptions in one process, and the same without protections.

`python benchmarks/certificate.py` takes hours on two cores and prints ratios; the figures go to
`results/certificate.json`, the page beside them. `--scale 0.3` injects three tenths of the faults through Ray.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import RESULTS, cpu_name
from pipelines.preprocess import preprocess
from pipelines.presets import shapes_smoke
from pipelines.prove import prove, shortened
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig
from pipelines.training.proving.campaign import Kind
from pipelines.training.proving.certificate import Certificate
from tests.commands import TINY_SETTINGS
from tests.interruptions import Runs, interrupted_config

COUNTS: dict[Kind, int] = {"worker": 25, "driver": 10, "pre-emption": 3, "damage": 3, "outage": 2}
STEPS, UNPROTECTED_STEPS, UNPROTECTED_KILLS = 900, 120, 5
INTERRUPTIONS, SEEDS = 25, range(1, 9)


def tiny_config(steps: int) -> RunConfig:
    sizes = {name: int(value) for name, value in TINY_SETTINGS.items() if value.isdecimal()}
    tiny = override(shapes_smoke(), {**sizes, "augment.crop": [64, 96], "data.shapes.num_train": 14})
    return shortened(tiny, steps)


def protected(scale: float = 1.0) -> Certificate:
    config = tiny_config(round(STEPS * scale))
    return prove(config, preprocess(config), counts={kind: max(1, round(n * scale)) for kind, n in COUNTS.items()})


def unprotected(scale: float = 1.0) -> Certificate:
    config = tiny_config(UNPROTECTED_STEPS)
    kills = max(2, round(UNPROTECTED_KILLS * scale))
    return prove(config, preprocess(config), kills=kills, without_protection=True)


def in_process(folder: Path) -> dict:
    config = interrupted_config(60)
    runs = Runs(config, preprocess(config), folder)
    undisturbed = runs.undisturbed()
    results = [runs.interrupted(INTERRUPTIONS, seed) for seed in SEEDS]
    return {
        "interruptions": sum(result.interruptions.total() for result in results),
        "identical": sum(INTERRUPTIONS for result in results if result.hashes == undisturbed.hashes),
        "lost": sum(result.lost for result in results),
        "doubled": sum(result.doubled for result in results),
        "earlier_differs": undisturbed.earlier["model"] != undisturbed.hashes["model"],
        "by_point": dict(sum((result.interruptions for result in results), Counter[str]())),
    }


def plain(certificate: Certificate) -> dict:
    """Without addresses of a folder that is gone."""
    fields = certificate.to_json()
    records = [{key: value for key, value in record.items() if key != "done"} for record in fields.pop("records")]
    return {**{key: value for key, value in fields.items() if key not in ("uri", "html_uri")}, "records": records}


def line(name: str, result: Certificate) -> str:
    return (
        f"{name}: {result.survived} of {result.requested} faults survived, identical {result.identical}, "
        f"{result.lost} lost, {result.doubled} doubled, {result.steps_recomputed} of {result.steps} "
        f"steps recomputed, goodput {result.goodput:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the faults that go through Ray")
    scale = parser.parse_args().scale
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUNET_STORE"] = folder
        inside = in_process(Path(folder, "interruptions"))
        print(f"in one process: {inside}", flush=True)
        bad = unprotected(scale)
        print(line("without protection", bad), flush=True)
        good = protected(scale)
        print(line("with protection", good), flush=True)
        document = {
            "cpu": cpu_name(),
            "date": good.date,
            "certificate": plain(good),
            "in_one_process": inside,
            "without_protection": plain(bad),
        }
        (RESULTS / "certificate.json").write_text(json.dumps(document, indent=1) + "\n")
        (RESULTS / "certificate.html").write_bytes(Path(good.html_uri).read_bytes())
    sys.exit(not (good.holds and not bad.holds))


if __name__ == "__main__":
    main()
