"""A training step of timm's backbones with their own layers and with ours: `python benchmarks/timm_layers.py`.

Forward and backward of the features at strides 4 … 32, batch norms frozen, four images of 224×288, channels last, one
thread and its own CPU time, so other jobs disturb it little. Timm's network and ours take turns, the least time counts.
Beside each time, how far gradients are from those of timm's network in float32: the median of |difference| / |gradient|
over the parameters.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import timm
import torch
from timm.utils.model import freeze_batch_norm_2d
from torch import Tensor, nn

from aunet.model.timm_layers import replace_layers
from benchmarks.machine import RESULTS, cpu_name

NETWORKS = ("tf_efficientnet_lite0", "mobilenetv4_conv_small", "convnext_atto", "regnety_002")
SIZE = (4, 3, 224, 288)
REPETITIONS = 5


def network(name: str, layers: str) -> nn.Module:
    """Features of timm's network `name` with timm's layers or ours, the same random weights in both."""
    torch.manual_seed(0)
    features: Any = timm.create_model(name, features_only=True, out_indices=(-4, -3, -2, -1))
    if layers == "ours":
        replace_layers(features, timm, freeze_norms=True)
    else:
        features = freeze_batch_norm_2d(features)
    return features.train().to(memory_format=torch.channels_last)


def step(features: nn.Module, images: Tensor, number_format: str) -> tuple[float, list[Tensor]]:
    """CPU seconds of forward and backward, and the gradients."""
    features.zero_grad()
    started = time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=number_format == "bf16"):
        loss = sum((level.float().square().mean() for level in features(images)), torch.zeros(()))
    loss.backward()
    return time.process_time() - started, [p.grad for p in features.parameters() if p.grad is not None]


def error(gradients: list[Tensor], exact: list[Tensor]) -> float:
    """How far `gradients` are from `exact`."""
    shares = [((g - e).norm() / e.norm()).item() for g, e in zip(gradients, exact, strict=True) if e.norm() > 0]
    return sorted(shares)[len(shares) // 2]


def main() -> None:
    """Measure all networks and formats."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    images = torch.randn(SIZE).contiguous(memory_format=torch.channels_last)
    rows: list[dict[str, Any]] = []
    for name in NETWORKS:
        both = {layers: network(name, layers) for layers in ("timm", "ours")}
        exact = [g.clone() for g in step(both["timm"], images, "fp32")[1]]
        for number_format in ("bf16", "fp32"):
            row: dict[str, Any] = {"network": name, "format": number_format}
            for layers, features in both.items():
                row[f"{layers} error"] = round(error(step(features, images, number_format)[1], exact), 5)
            for layers in list(both) * REPETITIONS:
                seconds = step(both[layers], images, number_format)[0]
                row[layers] = round(min(row.get(layers, seconds), seconds), 4)
            rows.append(row | {"timm / ours": round(row["timm"] / row["ours"], 2)})
            print(json.dumps(rows[-1]), flush=True)
    result = {"hardware": cpu_name(), "date": time.strftime("%Y-%m-%d"), "timm": timm.__version__}
    result |= {"torch": torch.__version__, "size": SIZE, "unit": "CPU seconds per step", "rows": rows}
    (RESULTS / "timm_layers.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
