"""Does attention help the background? The cheap first judge: many short paired runs on a frozen trunk.

    AUNET_SAMPLE_DATA=/path/to/samples python benchmarks/attention_probe.py scenes|ambiguous|camvid \
        [--seeds 8] [--rows e2e gain …] [--cache DIR] [--summary]

Backbone, RPN and foreground are trained once, as those of an `e2e` network, and frozen. What the background branch
reads of every image is cached: features, the RPN's features, mask features with their boxes (in training sampled
positive proposals, in validation final detections). Then only background branches are trained, each in a fraction of
a minute: rows of one seed share the initial weights of all that they have in common, the order of the images and the
detections. Every run is a line of results/attention_probe_DATA.jsonl as soon as it ends; what is there is not done
again, so the same command goes on where it was stopped. `--summary` prints the table of what there is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from aunet.categories import VOID, Categories
from aunet.config import AugmentConfig, AUNetConfig
from aunet.data.augment import augment, evaluation_size
from aunet.data.sample import Sample, pack, pack_target
from aunet.evaluation.panoptic_quality import PanopticQuality
from aunet.evaluation.semantic_iou import SemanticIoU
from aunet.fusion import fuse_panoptic
from aunet.image_sized import SemanticLogits
from aunet.losses import semantic_loss
from aunet.model import AUNet, Output, build_model, to_predictions
from aunet.model.aunet import as_rois
from aunet.model.background import SemanticOutput
from aunet.model.foreground import Instances
from aunet.model.levels import LEVELS
from benchmarks.machine import RESULTS, cpu_name
from benchmarks.paired import difference, differences, interval, summary
from benchmarks.probe_data import load
from pipelines import presets
from pipelines.settings.run_config import RunConfig
from pipelines.settings.variants import table_1_row
from pipelines.training.optimization import build_optimizer, learning_rate

METRICS = ("PQ_st", "mIoU", "cross_entropy", "PQ")
TRUNK_STEPS = {"scenes": 600, "ambiguous": 600, "camvid": 400}
STEPS = {"scenes": 300, "ambiguous": 300, "camvid": 120}
BATCH = 8
REFERENCES = ("e2e", "gain", "e2e_conv")
"""Rows from which the others are taken: no attention, its scale alone, and one more convolution."""


def changed(row: str, **attention: object) -> Callable[[RunConfig], AUNetConfig]:
    """A row of Table 1, or a control, with changes to its attention."""

    def build(base: RunConfig) -> AUNetConfig:
        model = table_1_row(base, row).model
        return replace(model, attention=replace(model.attention, **attention))

    return build


ROWS: dict[str, Callable[[RunConfig], AUNetConfig]] = {
    "e2e": changed("e2e"),
    "gain": changed("gain"),
    "aunet": changed("aunet"),
    "aunet, reweight as in the paper": changed("aunet", reweight_start="random"),
    "aunet, no reweight": changed("aunet", reweight=False),
    "pam": changed("pam"),
    "mam": changed("mam"),
    "aunet, confident": changed("aunet", written="confident"),
    "aunet, by score": changed("aunet", written="by_score"),
    "aunet, centered": changed("aunet", centered=True),
    "aunet, sum": changed("aunet", normalize=None),
    "e2e_conv": changed("e2e_conv"),
    "aunet_conv": changed("aunet_conv"),
}
"""What is compared, the most important first."""


@dataclass
class Seen:
    """What the background branch sees of one image, in half precision, and what it should say."""

    features: list[Tensor]
    proposals: list[Tensor]
    masks: Tensor
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    mask_probs: Tensor
    semantic: Tensor
    """Tensor[H, W] int64, at the size of the network's input."""
    size: tuple[int, int]
    """(height, width) without padding."""


def base_config(data: str) -> RunConfig:
    """The preset that is probed; CamVid at two thirds of its size."""
    if data != "camvid":
        return {"scenes": presets.shapes_smoke, "ambiguous": presets.shapes_ambiguous}[data]()
    base, images = presets.camvid_lite0(), presets.camvid_small().augment
    augment = replace(images, short_sides=(240,), max_size=320, crop=(192, 256), scale=(0.6, 1.3))
    return replace(base, augment=augment, fusion=replace(base.fusion, stuff_area=800))


def trained_trunk(config: RunConfig, categories: Categories, samples: list[Sample], file: Path, steps: int) -> AUNet:
    """An `e2e` network after `steps` steps; read from `file` where it is there, else begun or continued."""
    torch.manual_seed(0)
    row = table_1_row(config, "e2e")
    model = build_model(row.model, categories).to(memory_format=torch.channels_last)
    if file.exists():
        model.load_state_dict(torch.load(file, weights_only=True))
        return model.eval()
    train = replace(row.train, warmup_steps=50)
    optimizer, started, first = build_optimizer(model, train), time.monotonic(), 0
    begun = file.with_suffix(".begun")
    if begun.exists():
        state = torch.load(begun, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    for step in range(first, steps):
        rng = np.random.default_rng([0, step])
        chosen = [augment(samples[n], config.augment, rng) for n in rng.choice(len(samples), BATCH, replace=False)]
        targets = [pack_target(s, categories, row.model.background.thing_labels) for s in chosen]
        torch.manual_seed(step)
        with torch.autocast("cpu", torch.bfloat16):
            losses = model.train()(pack(chosen, targets).to("cpu"))
        follow(optimizer, model, losses.total(config.loss), learning_rate(train, step, steps))
        if (step + 1) % 20 == 0:
            shown = ", ".join(f"{float(loss.detach()):.3f}" for loss in losses)
            print(f"trunk step {step + 1} of {steps}, {time.monotonic() - started:.0f} s, losses {shown}", flush=True)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, begun.with_suffix(".new"))
            begun.with_suffix(".new").rename(begun)
    torch.save(model.state_dict(), file)
    return model.eval()


def follow(optimizer: torch.optim.Optimizer, model: nn.Module, loss: Tensor, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()


@torch.inference_mode()
def see(model: AUNet, image: Sample, categories: Categories, config: RunConfig, *, training: bool) -> Seen:
    """Run the frozen trunk on an image, resized as in evaluation."""
    height, width = evaluation_size(image.image.shape[0], image.image.shape[1], config.augment)
    fixed = AugmentConfig(short_sides=(min(height, width),), max_size=max(height, width), flip=False)
    resized = augment(image, fixed, np.random.default_rng(0))
    labels = config.model.background.thing_labels
    batch = pack([resized], [pack_target(resized, categories, labels)]).to("cpu")
    with torch.autocast("cpu", torch.bfloat16):
        inputs = model.normalize(batch.images)
        features = model.backbone(inputs)
        proposals = model.rpn(ImageList(inputs, batch.image_sizes), features)
        if training:
            torch.manual_seed(image.image_id % 2**31)
            targets: Any = batch.targets
            rois, _, assigned, _ = model.foreground.select_training_samples(proposals.boxes, targets)
            boxes = rois[0][assigned[0] > 0]
            masks, _ = model.foreground.segment(model.foreground.mask_roi_pool(features, [boxes]))
            found = Instances([boxes], [torch.ones(len(boxes))], [assigned[0][:0]], [boxes[:0]], masks, None)
        else:
            found = model.foreground(features, proposals.boxes, batch.image_sizes)
    padded = F.pad(
        batch.targets[0]["semantic"],
        (0, batch.images.shape[3] - resized.image.shape[1], 0, batch.images.shape[2] - resized.image.shape[0]),
        value=VOID,
    )
    half = lambda tensors: [t[0].to(torch.bfloat16).clone() for t in tensors]  # noqa: E731
    return Seen(
        half([features[level] for level in LEVELS]),
        half(proposals.features[: len(LEVELS)]),
        found.mask_features[28].to(torch.bfloat16).clone(),
        found.boxes[0].float().clone(),
        found.scores[0].float().clone(),
        found.labels[0].clone(),
        found.mask_probs[0].float().clone(),
        padded.clone(),
        batch.image_sizes[0],
    )


def branch_output(branch: nn.Module, seen: list[Seen], *, training: bool) -> SemanticOutput:
    features = [torch.stack(maps) for maps in zip(*(s.features for s in seen), strict=True)]
    proposals = [torch.stack(maps) for maps in zip(*(s.proposals for s in seen), strict=True)]
    scores = None if training else torch.cat([s.scores for s in seen])
    with torch.autocast("cpu", torch.bfloat16):
        return branch(features, proposals, torch.cat([s.masks for s in seen]), as_rois([s.boxes for s in seen]), scores)


def one_run(
    model_config: AUNetConfig, config: RunConfig, categories: Categories, seed: int, train: list[Seen], steps: int
) -> nn.Module:
    """A background branch, trained on what was cached."""
    torch.manual_seed(seed)
    branch = build_model(model_config, categories, load_weights=False).background.to(memory_format=torch.channels_last)
    settings = replace(config.train, warmup_steps=20, lr=1e-3, schedule="flat_cosine", cooldown=0.5)
    optimizer, rng = build_optimizer(branch, settings), np.random.default_rng(seed)
    for step in range(steps):
        chosen = [train[n] for n in rng.choice(len(train), BATCH, replace=False)]
        output = branch_output(branch.train(), chosen, training=True)
        labels = torch.stack([s.semantic for s in chosen])
        loss = semantic_loss(output.logits, labels, config.model.background.hard_pixels)
        follow(optimizer, branch, loss, learning_rate(settings, step, steps))
    return branch.eval()


@torch.inference_mode()
def measure(
    branch: nn.Module, config: RunConfig, categories: Categories, seen: list[Seen], samples: list[Sample]
) -> dict[str, float]:
    """PQ and mIoU of the panoptic maps with the cached detections, and the mean cross-entropy of pixels."""
    quality, overlap, entropies = PanopticQuality(categories), SemanticIoU(categories), []
    for own, image in zip(seen, samples, strict=True):
        semantic = branch_output(branch, [own], training=False)
        padded = (own.semantic.shape[0], own.semantic.shape[1])
        entropies.append(float(semantic_loss(semantic.logits, own.semantic[None])))
        instances = Instances([own.boxes], [own.scores], [own.labels], [own.mask_probs], {}, None)
        original = (image.image.shape[0], image.image.shape[1])
        prediction = to_predictions(Output(instances, semantic), padded, [own.size], [original])[0]
        assert isinstance(prediction.semantics, SemanticLogits)
        labels = config.model.background.thing_labels
        panoptic = fuse_panoptic(prediction.detections, prediction.semantics, categories, config.fusion, labels)
        ids = panoptic.ids.numpy()
        for accumulator in (quality, overlap):
            accumulator.update(ids, panoptic.segments, image.true_ids(), image.true_segments())
    metrics = quality.compute().metrics()
    return {
        "PQ": metrics["PQ"],
        "PQ_th": metrics["PQ_th"],
        "PQ_st": metrics["PQ_st"],
        "mIoU": overlap.compute(),
        "cross_entropy": statistics.mean(entropies),
    }


def main() -> None:
    """Do what is missing, seed by seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=list(STEPS))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--cache", type=Path, default=Path("build/attention_probe"))
    parser.add_argument("--summary", action="store_true", help="only print the table of the runs that there are")
    arguments = parser.parse_args()
    data, results = arguments.data, RESULTS / f"attention_probe_{arguments.data}.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    done = {(line["row"], line["seed"]) for line in lines}
    waiting = [(row, seed) for seed in range(arguments.seeds) for row in arguments.rows if (row, seed) not in done]
    if waiting and not arguments.summary:
        arguments.cache.mkdir(parents=True, exist_ok=True)
        config, (categories, train, val) = base_config(data), load(data)
        trunk = trained_trunk(config, categories, train, arguments.cache / f"{data}.pt", TRUNK_STEPS[data])
        seen = [see(trunk, s, categories, config, training=True) for s in train]
        judged = [see(trunk, s, categories, config, training=False) for s in val]
        for row, seed in waiting:
            started = time.process_time()
            branch = one_run(ROWS[row](config), config, categories, seed, seen, STEPS[data])
            trained = time.process_time() - started
            line = {"row": row, "seed": seed, **measure(branch, config, categories, judged, val)}
            line |= {"cpu_seconds": round(trained, 1), "cpu": cpu_name()}
            with results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            lines.append(line)
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}, flush=True)
    print(summary(lines, ROWS, references=REFERENCES))
    for other in REFERENCES:
        values = differences(lines, "aunet", other, "PQ")
        if len(values) > 1:
            deviation = difference(values)["sd"]
            print(f"PQ of the whole map, aunet − {other}: {interval(values)}, standard deviation {deviation:.2f}")


if __name__ == "__main__":
    main()
