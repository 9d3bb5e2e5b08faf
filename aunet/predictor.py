"""From pictures to panoptic maps with a trained model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aunet.categories import Categories
from aunet.config import AugmentConfig, AUNetConfig, FusionConfig
from aunet.config_json import from_json, to_json
from aunet.data.augment import evaluation_size, resize
from aunet.data.coco_panoptic import decode_image
from aunet.data.sample import collate
from aunet.errors import InputError
from aunet.fusion import fuse_panoptic
from aunet.model import AUNet, Output, build_model, merge_views, mirror, to_predictions
from aunet.structures import PanopticMap, Prediction

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass
class Result:
    """What the predictor says of one image, at its original size."""

    panoptic: PanopticMap
    prediction: Prediction
    """Instances and semantic logits before fusion."""


class Predictor:
    """A network with all it needs to label pictures.

    Args:
        model: the network; put into evaluation mode and moved to `device`.
        augment: gives the input size.
        fusion: how instances and semantics become one map.
        precision: `torch.bfloat16` runs the network under autocast; None in float32.
    """

    def __init__(
        self,
        model: AUNet,
        config: AUNetConfig,
        categories: Categories,
        augment: AugmentConfig,
        fusion: FusionConfig,
        *,
        device: torch.device | str = "cpu",
        precision: torch.dtype | None = None,
    ) -> None:
        self.model = model.to(device).eval()
        self.config, self.categories, self.augment, self.fusion = config, categories, augment, fusion
        self.device, self.precision = torch.device(device), precision

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, device: torch.device | str = "cpu", precision: torch.dtype | None = None
    ) -> Predictor:
        """Load the `model.safetensors` and `config.json` that training wrote.

        Raises:
            InputError: one of the files is missing, or they do not belong together.
        """
        from safetensors.torch import load_file

        folder = Path(folder)
        missing = [name for name in (WEIGHTS, CONFIG) if not (folder / name).is_file()]
        if missing:
            raise InputError(f"model {folder}: {missing[0]} is missing; give the model folder that training wrote")
        settings = json.loads((folder / CONFIG).read_text())
        config = from_json(AUNetConfig, settings["model"], "model")
        categories = Categories.from_json(settings["categories"], str(folder / CONFIG))
        model = build_model(config, categories, load_weights=False)
        try:
            model.load_state_dict(load_file(folder / WEIGHTS))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"model {folder}: {WEIGHTS} does not fit {CONFIG} ({reason}); fetch both again") from error
        return cls(
            model,
            config,
            categories,
            from_json(AugmentConfig, settings["augment"], "augment"),
            from_json(FusionConfig, settings["fusion"], "fusion"),
            device=device,
            precision=precision,
        )

    def settings(self) -> dict[str, Any]:
        """The content of `config.json` that `from_folder` reads."""
        return {
            "model": to_json(self.config),
            "augment": to_json(self.augment),
            "fusion": to_json(self.fusion),
            "categories": self.categories.to_json(),
        }

    def __call__(self, images: Sequence[NDArray[np.uint8] | bytes | str | Path]) -> list[Result]:
        """Label images.

        Args:
            images: arrays uint8[H, W, 3] RGB of any sizes, encoded bytes, or paths; all of them go through the
                network as one batch.

        Raises:
            InputError: a file is missing or cannot be decoded.
        """
        arrays = [_load(image) for image in images]
        results = []
        for views in zip(*self._views(arrays), strict=True):
            prediction = merge_views(views, self.config.foreground.nms_threshold, self.config.foreground.max_detections)
            panoptic = fuse_panoptic(
                prediction.detections,
                prediction.semantic_logits,
                self.categories,
                self.fusion,
                self.config.background.thing_labels,
            )
            results.append(Result(panoptic, prediction))
        return results

    def _views(self, arrays: Sequence[NDArray[np.uint8]]) -> Iterator[list[Prediction]]:
        """Predictions for all images, once per scale and mirroring, in pixels of the originals."""
        originals = [(a.shape[0], a.shape[1]) for a in arrays]
        for scale in self.augment.test_scales:
            for flip in (False, True) if self.augment.test_flip else (False,):
                seen = [np.ascontiguousarray(a[:, ::-1]) for a in arrays] if flip else arrays
                found = to_predictions(*self.run(seen, scale), originals)
                yield [mirror(prediction) for prediction in found] if flip else found

    @torch.inference_mode()
    def run(
        self, arrays: Sequence[NDArray[np.uint8]], scale: float = 1.0
    ) -> tuple[Output, tuple[int, int], list[tuple[int, int]]]:
        """The network's raw output with the padded input size and each image's size inside it."""
        resized = [resize(a, evaluation_size(a.shape[0], a.shape[1], self.augment, scale)) for a in arrays]
        batch = collate(resized).to(self.device)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
            output = self.model(batch)
        return output, (batch.images.shape[2], batch.images.shape[3]), batch.image_sizes


def _load(image: NDArray[np.uint8] | bytes | str | Path) -> NDArray[np.uint8]:
    if isinstance(image, np.ndarray):
        return image
    if isinstance(image, bytes):
        return decode_image(image)
    path = Path(image)
    if not path.is_file():
        raise InputError(f"image {path}: no such file; give the path of a JPEG or PNG")
    try:
        return decode_image(path.read_bytes())
    except InputError as error:
        raise InputError(f"image {path}: {error}") from error
