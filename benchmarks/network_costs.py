"""Parameters and floating-point operations of every preset: ``python benchmarks/network_costs.py``.

Counted on the meta device, so the machine does not matter. Writes tests/golden/network_costs.json, which a test
compares, and the table in docs/model.md.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet.categories import Categories, Category
from aunet.config import AUNetConfig, BackboneConfig
from aunet.config_json import to_json
from aunet.data.augment import evaluation_size
from aunet.model.costs import costs
from pipelines.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden/network_costs.json"
DOCUMENT = ROOT / "docs/model.md"
START, END = "<!-- network costs -->", "<!-- end of network costs -->"

DATA = {
    "coco": (80, 53, (480, 640)),
    "cityscapes": (8, 11, (1024, 2048)),
    "camvid": (3, 8, (360, 480)),
    "shapes": (6, 7, (128, 160)),
    "shapes_ambiguous": (6, 3, (128, 160)),
}
"""By a preset's name or its first word: numbers of things and stuff, and the usual size of an image."""

TIMM_BACKBONES = (
    "timm:convnext_tiny",
    "timm:swin_tiny_patch4_window7_224",
    "timm:regnety_032",
    "timm:mobilenetv4_conv_medium",
    "timm:efficientnet_b0",
)
"""In the place of `coco_r50`'s."""


def all_costs() -> dict[str, Any]:
    """By preset: input size, parameters, trainable parameters and FLOPs. Presets with one network share an entry."""
    counted: dict[str, Any] = {}
    named: dict[str, Any] = {}
    for name, preset in PRESETS.items():
        config = preset()
        things, stuff, image = DATA.get(name) or DATA[name.split("_")[0]]
        size = tuple(-(-side // 32) * 32 for side in evaluation_size(*image, config.augment))
        key = json.dumps([to_json(config.model), size, things, stuff])
        if key not in counted:
            counted[key] = _entry(config.model, things, stuff, size)
        named[name] = counted[key]
    for backbone in TIMM_BACKBONES:
        config = replace(PRESETS["coco_r50"]().model, backbone=BackboneConfig(name=backbone, weights="timm"))
        named[f"coco_r50 with {backbone}"] = _entry(config, 80, 53, (608, 800))
    return named


def _entry(config: AUNetConfig, things: int, stuff: int, size: tuple[int, ...]) -> dict[str, Any]:
    categories = Categories(
        tuple(Category(id=n, name=str(n), is_thing=n <= things) for n in range(1, things + stuff + 1))
    )
    counts = costs(config, categories, (size[0], size[1]))
    return {
        "size": list(size),
        "parameters": counts.parameters,
        "trainable": counts.trainable,
        "flops": counts.flops,
    }


def table(named: dict[str, Any]) -> str:
    """A Markdown table; presets with the same costs share a row."""
    rows: dict[str, list[str]] = {}
    for name, entry in named.items():
        rows.setdefault(json.dumps(entry), []).append(name)
    lines = [
        "| preset | input | parameters, M | trainable, M | GFLOPs | backbones | RPN | foreground | background |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for text, names in rows.items():
        entry = json.loads(text)
        flops = {branch: value / 1e9 for branch, value in entry["flops"].items()}
        backbones = flops["backbone"] + flops.get("background_backbone", 0)
        lines.append(
            f"| {', '.join(f'`{name}`' for name in names)} | {entry['size'][0]}×{entry['size'][1]} "
            f"| {sum(entry['parameters'].values()) / 1e6:.2f} | {entry['trainable'] / 1e6:.2f} "
            f"| {sum(flops.values()):.1f} | {backbones:.1f} | {flops['rpn']:.1f} | {flops['foreground']:.1f} "
            f"| {flops['background']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Count, write both files."""
    named = all_costs()
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(named, indent=1) + "\n")
    before, _, rest = DOCUMENT.read_text().partition(START)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{START}\n{table(named)}\n{END}{after}")
    print(table(named))


if __name__ == "__main__":
    main()
