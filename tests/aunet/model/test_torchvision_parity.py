"""The Mask R-CNN part of the network against torchvision's `maskrcnn_resnet50_fpn`: parameters, then numbers.

Random weights say nothing, so the network is made to say much: batch norm takes its statistics from the image itself,
and the last layers of the heads are scaled until scores, boxes and masks spread over their whole ranges.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from aunet.categories import Categories, Category
from aunet.config import AttentionConfig, AUNetConfig, BackboneConfig, ForegroundConfig
from aunet.model import AUNet, Output, build_model
from aunet.structures import Batch

SIZE = 192, 256
COCO = Categories(tuple(Category(id=n, name=str(n), is_thing=n <= 80) for n in range(1, 134)))
ATTENTION_OFF = AttentionConfig(pam=False, mam=False, reweight=False)
"""What the two networks have in common: no attention, no group norm in the branches."""


def ours(norm: Literal["bn", "frozen_bn"] = "bn", trainable_stages: int = 5) -> AUNet:
    backbone = BackboneConfig(norm=norm, trainable_stages=trainable_stages)
    return build_model(
        AUNetConfig(
            backbone=backbone,
            foreground=ForegroundConfig(geometry="torchvision"),
            branch_norm="none",
            attention=ATTENTION_OFF,
        ),
        COCO,
    )


def theirs(**settings: object) -> MaskRCNN:
    return maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81, **settings)


def shared(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters of the foreground, under torchvision's names."""
    return {
        name.replace("foreground.", "roi_heads.", 1): value
        for name, value in state.items()
        if not name.startswith("background.")
    }


@pytest.mark.parametrize("trainable", [5, 3])
def test_the_same_parameters(trainable: int) -> None:
    with torch.device("meta"):
        mine, other = ours(trainable_stages=trainable), theirs()
    if trainable != 5:  # torchvision freezes stages of pretrained networks only
        for name, parameter in other.get_submodule("backbone.body").named_parameters():
            parameter.requires_grad_(name.split(".")[0] in ("layer2", "layer3", "layer4"))
    mine_named = {n: (p.shape, p.requires_grad) for n, p in shared(dict(mine.named_parameters())).items()}
    assert mine_named == {n: (p.shape, p.requires_grad) for n, p in other.named_parameters()}


def test_frozen_batch_norm_has_the_same_entries() -> None:
    with torch.device("meta"):
        mine, other = ours("frozen_bn", 3).state_dict(), theirs().state_dict()
    expected = {n: v.shape for n, v in other.items() if not n.endswith("num_batches_tracked")}
    assert {n: v.shape for n, v in shared(mine).items()} == expected


@pytest.fixture(scope="module")
def image(sample_data: Path) -> Tensor:
    """A real image, uint8[3, H, W], at a size that needs no padding: the two pad with different colours."""
    path = sorted((sample_data / "coco_panoptic_mini").rglob("*.jpg"))[0]
    resized = Image.open(path).convert("RGB").resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


SPREAD = {
    "rpn.head.cls_logits": 2.0,
    "rpn.head.bbox_pred": 0.3,
    "foreground.box_predictor.cls_score": 3.0,
    "foreground.box_predictor.bbox_pred": 1.0,
    "foreground.mask_predictor.mask_fcn_logits": 3.0,
}
"""Standard deviation that the outputs of the heads' last layers get; that of all others is 1."""


def speak_up(model: AUNet, batch: Batch) -> None:
    """Make random weights tell one thing from another on this batch."""

    def scale(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
        def hook(module: nn.Module, _: tuple[Tensor], out: Tensor) -> Tensor:
            factor = SPREAD.get(name, 1.0) / out.std()
            for parameter in module.parameters():
                parameter.mul_(factor)
            return out * factor

        return hook

    for module in model.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    heads = [
        (name, module)
        for name, module in model.named_modules()
        if name.startswith(("rpn.", "foreground.")) and isinstance(module, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d))
    ]
    with torch.no_grad():
        model.eval().backbone.train()
        model(batch)
        model.eval()
        hooks = [module.register_forward_hook(scale(name)) for name, module in heads]
        model(batch)
    for hook in hooks:
        hook.remove()


def test_the_same_weights_find_the_same(image: Tensor) -> None:
    """Both get one memory format and one order of the normalisation's operations, so that they round alike."""
    torch.manual_seed(0)
    model, batch = ours().to(memory_format=torch.channels_last), Batch(image[None], [SIZE], [])
    speak_up(model, batch)
    mean, std = (buffer.flatten().tolist() for buffer in (model.pixel_mean, model.pixel_std))
    other = theirs(min_size=min(SIZE), max_size=max(SIZE), image_mean=mean, image_std=std).eval()
    other.to(memory_format=torch.channels_last)
    other.load_state_dict(shared(model.state_dict()))
    with torch.inference_mode():
        output = model(batch)
        expected = other([image.float()])[0]
    assert isinstance(output, Output)
    instances = output.instances
    assert len(expected["boxes"]) >= 50 and len(expected["labels"].unique()) >= 5, "too little to compare"
    assert torch.equal(instances.labels[0], expected["labels"])
    torch.testing.assert_close(instances.boxes[0], expected["boxes"], rtol=0, atol=1e-4)
    torch.testing.assert_close(instances.scores[0], expected["scores"], rtol=0, atol=1e-4)
    masks = paste_masks_in_image(instances.mask_probs[0], instances.boxes[0], SIZE)
    torch.testing.assert_close(masks, expected["masks"], rtol=0, atol=1e-4)
    assert masks.std() > 0.05


def test_the_same_normalisation(image: Tensor) -> None:
    model = ours()
    transform = theirs().transform
    assert isinstance(transform, GeneralizedRCNNTransform)
    expected = transform.normalize(image / 255)
    torch.testing.assert_close((image - model.pixel_mean) / model.pixel_std, expected, rtol=0, atol=1e-6)
