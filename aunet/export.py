"""The inference network as one file: a program of torch.export, which runs without this package's model code.

It needs torch, torchvision and aunet_ops, imported for their operators. Weights are inside. The image's height and
width are free, multiples of 32 from `SMALLEST` on; so are the numbers of proposals and detections.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.passes import move_to_device_pass
from torchvision.ops import nms

from aunet.data.sample import SIZE_MULTIPLE
from aunet.errors import InputError
from aunet.model.aunet import AUNet, Output
from aunet.model.background import SemanticOutput
from aunet.model.foreground import Instances
from aunet.structures import Batch
from aunet.torch_files import read_program

SMALLEST = 3 * SIZE_MULTIPLE
"""Least height and width of a program's input: in a smaller one P6 has a side of 1, which torch.export would fix."""
GROUP_SHIFT = 2.0**16
"""More than any coordinate in pixels: boxes of different groups, shifted by multiples of it, cannot overlap."""


class InferenceNetwork(nn.Module):
    """AUNet in evaluation on one image, written so that torch.export can follow it.

    The modules and their settings are the model's. Torchvision's code that chooses proposals and detections asks in
    Python how many boxes there are; it is replaced by code in which those numbers stay symbols.

    Args:
        model: the network; put into evaluation mode.
    """

    def __init__(self, model: AUNet) -> None:
        super().__init__()
        self.model = model
        # They are not buffers: torchvision's forward pass moves them to the device, which `_propose` does not call.
        model.rpn.anchor_generator.set_cell_anchors(torch.float32, model.pixel_mean.device)
        self.eval()

    def forward(self, images: Tensor, size: Tensor) -> dict[str, Any]:
        """Label one image.

        Args:
            images: Tensor[1, 3, H, W] uint8 RGB, padded at the right and bottom to multiples of 32.
            size: Tensor[2] int64, (height, width) of the image without padding.

        Returns:
            `boxes` Tensor[K, 4], `scores` [K], `labels` [K], `mask_probs` [K, 1, 28, 28], `logits` [1, S, H/4, W/4] and
            `attention`, a dictionary of M': as `Instances` and `SemanticOutput` describe them.
        """
        model = self.model
        inputs = model.normalize(images)
        features = model.backbone(inputs)
        hidden, proposals = self._propose(features, images.shape, size)
        boxes, scores, labels = self._detect(features, proposals, size)
        mask_features, mask_logits = model.foreground.segment(model.foreground.mask_roi_pool(features, [boxes]))
        semantic = model.label(inputs, features, hidden, mask_features, [boxes], scores)
        chosen = torch.arange(labels.shape[0], device=labels.device), labels
        return {
            "boxes": boxes,
            "scores": scores,
            "labels": labels,
            "mask_probs": mask_logits.sigmoid()[chosen][:, None],
            "logits": semantic.logits,
            "attention": semantic.attention,
        }

    def _propose(self, features: dict[str, Tensor], shape: torch.Size, size: Tensor) -> tuple[list[Tensor], Tensor]:
        """P_i of Eq. 1 and the proposals, Tensor[n, 4]: `ProposalNetwork.forward`."""
        rpn, maps = self.model.rpn, list(features.values())
        hidden, objectness, deltas = rpn.head(maps)
        grids = [[m.shape[2], m.shape[3]] for m in maps]
        strides: Any = [[shape[2] // rows, shape[3] // columns] for rows, columns in grids]
        anchors = rpn.anchor_generator.grid_anchors(grids, strides)
        best = []
        for (level_objectness,), (level_deltas,), level_anchors in zip(objectness, deltas, anchors, strict=True):
            logits = level_objectness.permute(1, 2, 0).flatten()
            regression = level_deltas.unflatten(0, (-1, 4)).permute(2, 3, 0, 1).flatten(0, 2)
            count: Any = torch.sym_min(logits.shape[0], rpn.pre_nms_top_n())
            logits, indices = logits.topk(count)
            decoded = rpn.box_coder.decode_single(regression[indices], level_anchors[indices])
            best.append((_clip(decoded, size), logits.sigmoid(), torch.full_like(indices, len(best))))
        boxes, scores, levels = (torch.cat(per_level) for per_level in zip(*best, strict=True))
        (large,) = _has_sides(boxes, rpn.min_size).nonzero(as_tuple=True)
        boxes, scores, levels = boxes[large], scores[large], levels[large]
        return hidden, boxes[_suppress(boxes, scores, levels, rpn.nms_thresh)[: rpn.post_nms_top_n()]]

    def _detect(self, features: dict[str, Tensor], proposals: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes Tensor[K, 4], scores [K] and labels [K]: `RoIHeads.postprocess_detections`."""
        heads = self.model.foreground
        logits, regression = heads.classify(heads.box_roi_pool(features, [proposals]))
        boxes = _clip(heads.box_coder.decode_single(regression, proposals).unflatten(1, (-1, 4)), size)[:, 1:]
        scores = logits.softmax(-1)[:, 1:]
        candidates = ((scores > heads.score_thresh) & _has_sides(boxes, 1e-2)).nonzero(as_tuple=True)
        boxes, scores, labels = boxes[candidates], scores[candidates], candidates[1] + 1
        kept = _suppress(boxes, scores, labels, heads.nms_thresh)[: heads.detections_per_img]
        return boxes[kept], scores[kept], labels[kept]


def _clip(boxes: Tensor, size: Tensor) -> Tensor:
    """Boxes Tensor[..., 4] inside an image of `size`, Tensor[2] (height, width)."""
    corners = boxes.unflatten(-1, (2, 2)).clamp(min=0)
    return corners.minimum(size.flip(0).to(boxes.dtype)).flatten(-2)


def _has_sides(boxes: Tensor, length: float) -> Tensor:
    """Which of the boxes Tensor[..., 4] have two sides of at least `length`."""
    return (boxes[..., 2:] - boxes[..., :2] >= length).all(-1)


def _suppress(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression inside each group: indices by falling score. In float64, so that the shifts are exact.

    Torchvision promises torch.export that nms keeps two boxes or more; two outside the image, always kept and last,
    make that true.
    """
    shifted = boxes.double() + GROUP_SHIFT * groups[:, None]
    outside = shifted.new_tensor([[-2, -2, -1, -1], [-4, -4, -3, -3]])
    last = scores.new_full((2,), -1)
    return nms(torch.cat([shifted, outside]), torch.cat([scores, last]).double(), threshold)[:-2]


@torch.no_grad()
def export_network(model: AUNet) -> ExportedProgram:
    """The inference network of `model`, which is put into evaluation mode, on the model's device in float32.

    Returns:
        What `torch.export.save` writes; called like `InferenceNetwork.forward`, it returns the same.
    """
    device = model.pixel_mean.device
    height, width = (SIZE_MULTIPLE * Dim(name, min=SMALLEST // SIZE_MULTIPLE) for name in ("rows", "columns"))
    examples = torch.zeros(1, 3, 160, 224, dtype=torch.uint8, device=device), torch.tensor([150, 220], device=device)
    shapes = {"images": {2: height, 3: width}, "size": None}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # torchvision's own, about how it registers nms with torch.export
        return torch.export.export(InferenceNetwork(model), examples, dynamic_shapes=shapes, strict=False)


class ExportedNetwork(nn.Module):
    """An exported program in place of `AUNet`, for evaluation; it labels the images of a batch one by one.

    Args:
        file: written by `torch.export.save`. It is code: load it only if you trust whoever made it.
        device: where it runs.

    Raises:
        InputError: it is damaged, or holds what `export` never writes.
    """

    def __init__(self, file: str | Path, device: torch.device | str = "cpu") -> None:
        super().__init__()
        try:
            program = read_program(Path(file))
        except ValueError as error:
            raise InputError(f"{file}: not a program that `export` wrote ({error}); export the model again") from error
        if torch.device(device).type != "cpu":
            program = move_to_device_pass(program, str(device))
        self.program = program.module()

    def train(self, mode: bool = True) -> ExportedNetwork:
        """Does nothing: a program stays in evaluation mode."""
        return self

    def check_size(self, size: tuple[int, int]) -> None:
        """Refuse an input of (height, width) that is smaller than `SMALLEST`.

        Padding it would let it pass, and give another result than the network's, whose norms average over the padding.

        Raises:
            InputError: it is.
        """
        if min(size) < SMALLEST:
            raise InputError(
                f"the network's input, resized and padded, has {size[0]}×{size[1]} pixels, an exported program needs "
                f"{SMALLEST}×{SMALLEST} or more; use the model folder that it was exported from"
            )

    def forward(self, batch: Batch) -> Output:
        """The predictions for a batch.

        Raises:
            InputError: the batch is smaller than `SMALLEST`.
        """
        self.check_size((batch.images.shape[2], batch.images.shape[3]))
        sizes = torch.tensor(batch.image_sizes, device=batch.images.device)
        outputs = [self.program(batch.images[n : n + 1], size) for n, size in enumerate(sizes)]
        boxes, scores, labels, mask_probs = (
            [output[name] for output in outputs] for name in ("boxes", "scores", "labels", "mask_probs")
        )
        semantic = SemanticOutput(
            torch.cat([output["logits"] for output in outputs]),
            {name: torch.cat([output["attention"][name] for output in outputs]) for name in outputs[0]["attention"]},
        )
        return Output(Instances(boxes, scores, labels, mask_probs, {}, None), semantic)
