"""From images to panoptic maps with a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aunet.categories import Categories
from aunet.config import AugmentConfig, AUNetConfig, FusionConfig
from aunet.config_json import to_json
from aunet.data.augment import evaluation_size, resize
from aunet.data.coco_panoptic import decode_image
from aunet.data.pictures import MAX_PIXELS
from aunet.data.sample import collate, padded_size
from aunet.errors import InputError
from aunet.export import ExportedNetwork
from aunet.fusion import fuse_panoptic
from aunet.model import (
    AttentionView,
    AUNet,
    Output,
    attention_views,
    merge_attention,
    merge_views,
    mirror,
    to_predictions,
)
from aunet.model_files import CONFIG, PROGRAM, WEIGHTS
from aunet.saved_network import load_network, read_settings
from aunet.structures import PanopticMap, Prediction

ImageLike = NDArray[np.uint8] | bytes | str | Path | BinaryIO
"""uint8[H, W, 3] RGB, [H, W] grey or [H, W, 4] RGBA; an encoded JPEG or PNG; its path; or a file opened with "rb"."""
Argument = TypeVar("Argument")
Outcome = TypeVar("Outcome")


@dataclass
class Result:
    """The prediction for one image, at its original size."""

    panoptic: PanopticMap
    prediction: Prediction
    """Instances and semantic logits before fusion."""
    views: Sequence[AttentionView] = ()
    """What `attention` averages, one per scale and mirroring."""

    @cached_property
    def attention(self) -> dict[str, Tensor]:
        """M' of `pam2` … `pam5` and `mam` (Figure 6), Tensor[H, W] float32 in [0, 1], meant to be high on background.

        The mean over scales and mirroring; empty for a network without attention. Computed on first use.
        """
        height, width = self.panoptic.ids.shape
        return merge_attention(self.views, (height, width))


class Predictor:
    """A network with all it needs to label images.

    Args:
        model: the network; put into evaluation mode and moved to `device`.
        augment: its settings for evaluation give the input size.
        fusion: how instances and semantics become one map.
        precision: `torch.bfloat16` runs the network under autocast; None: in float32.
    """

    def __init__(
        self,
        model: AUNet | ExportedNetwork,
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
        cls,
        folder: str | Path,
        *,
        device: torch.device | str = "cpu",
        precision: torch.dtype | None = None,
        trust_exported: bool = False,
    ) -> Predictor:
        """Load the `model.safetensors` and `config.json` of a training, or the `model.pt2` of an export.

        Loading safetensors runs nothing, whoever wrote the folder. An exported program is code.

        Args:
            precision: as above; an exported program always runs in float32.
            trust_exported: also load a `model.pt2`. Say so only if you would run a program from the same source.

        Raises:
            InputError: a file is missing or damaged, they do not belong together, or there is a program that is not
                trusted.
        """
        folder = Path(folder)
        exported, trained = (folder / PROGRAM).exists(), (folder / WEIGHTS).exists()
        if exported and trained:
            raise InputError(f"model {folder}: has {WEIGHTS} and {PROGRAM}; remove the one that does not belong there")
        if exported and not trust_exported:
            raise InputError(
                f"model {folder}: {PROGRAM} is a program, which can run any code when it is loaded; give the model "
                "folder it was exported from, or, if you trust whoever made it, trust_exported=True (predict: "
                "--trust-exported)"
            )
        missing = [name for name in (PROGRAM if exported else WEIGHTS, CONFIG) if not (folder / name).is_file()]
        if missing:
            raise InputError(f"model {folder}: no file {missing[0]}; give the model folder that training wrote")
        config, augment, fusion, categories = read_settings(folder)
        return cls(
            ExportedNetwork(folder / PROGRAM, device) if exported else load_network(folder, config, categories),
            config,
            categories,
            augment,
            fusion,
            device=device,
            precision=None if exported else precision,
        )

    def settings(self) -> dict[str, Any]:
        """The content of `config.json` that `from_folder` reads."""
        return {
            "model": to_json(self.config),
            "augment": to_json(self.augment),
            "fusion": to_json(self.fusion),
            "categories": self.categories.to_json(),
        }

    @property
    def can_ignore_attention(self) -> bool:
        """Whether there is an attention that `guided=False` leaves out: in a trained network, not in a program."""
        return isinstance(self.model, AUNet) and self.model.background.has_attention

    def __call__(
        self, images: Sequence[ImageLike], *, max_pixels: int = MAX_PIXELS, guided: bool = True
    ) -> list[Result]:
        """Label images; those whose inputs have one size go through the network as one batch.

        What an image is labelled as does not depend on the others, but for the rounding of batches.

        Args:
            images: of any sizes. The alpha channel and orientation tags are ignored, as in training.
            max_pixels: of an encoded image; larger ones are not decoded.
            guided: False: the background branch labels without the attention of the foreground, every M' is 1.

        Raises:
            InputError: a file is missing, cannot be decoded, or an array is not an image; every problem is named. Or
                the model is an exported program, and an image is too small for it, or not `guided`.
        """
        arrays = _load_all(images, max_pixels)
        if not arrays:
            return []
        _apply_to_all(self.check_size, arrays, images)
        results = []
        for views in zip(*self._views(arrays, guided), strict=True):
            predictions, attention = zip(*views, strict=True)
            prediction = merge_views(
                predictions, self.config.foreground.nms_threshold, self.config.foreground.max_detections
            )
            panoptic = fuse_panoptic(
                prediction.detections,
                prediction.semantics,
                self.categories,
                self.fusion,
                self.config.background.thing_labels,
            )
            results.append(Result(panoptic, prediction, attention))
        return results

    def check_size(self, image: NDArray[np.uint8]) -> None:
        """Refuse uint8[H, W, 3] that is too small for the model, which must be an exported program.

        Raises:
            InputError: it is.
        """
        if isinstance(self.model, ExportedNetwork):
            self.model.check_size(self._input_size(image, min(self.augment.test_scales)))

    def _views(
        self, arrays: Sequence[NDArray[np.uint8]], guided: bool
    ) -> Iterator[list[tuple[Prediction, AttentionView]]]:
        """The predictions for all images, once per scale and mirroring, in pixels of the originals.

        Only images whose inputs are padded to one size share a pass: padding an image further, to the size of a larger
        one, would change what the network says of it, since its norms and its reweight average over the padding.
        """
        for scale in self.augment.test_scales:
            groups: dict[tuple[int, int], list[int]] = {}
            for number, array in enumerate(arrays):
                groups.setdefault(self._input_size(array, scale), []).append(number)
            for flip in (False, True) if self.augment.test_flip else (False,):
                views: dict[int, tuple[Prediction, AttentionView]] = {}
                for group in groups.values():
                    alike = [arrays[number] for number in group]
                    views |= zip(group, self._view(alike, scale, flip, guided), strict=True)
                yield [views[number] for number in range(len(arrays))]

    def _view(
        self, arrays: Sequence[NDArray[np.uint8]], scale: float, flip: bool, guided: bool
    ) -> Iterator[tuple[Prediction, AttentionView]]:
        """The predictions of one pass, at one scale, mirrored or not."""
        flipped = [np.ascontiguousarray(a[:, ::-1]) for a in arrays] if flip else arrays
        output, input_size, image_sizes = self.run(flipped, scale, guided=guided)
        originals = [(a.shape[0], a.shape[1]) for a in arrays]
        predictions = to_predictions(output, input_size, image_sizes, originals, self.config.foreground.geometry)
        if flip:
            predictions = [mirror(prediction) for prediction in predictions]
        return zip(predictions, attention_views(output, input_size, image_sizes, flip=flip), strict=True)

    def _input_size(self, array: NDArray[np.uint8], scale: float) -> tuple[int, int]:
        """(height, width) of the network's input for an image alone, with padding."""
        return padded_size(evaluation_size(array.shape[0], array.shape[1], self.augment, scale))

    @torch.inference_mode()
    def run(
        self, arrays: Sequence[NDArray[np.uint8]], scale: float = 1.0, *, guided: bool = True
    ) -> tuple[Output, tuple[int, int], list[tuple[int, int]]]:
        """The network's raw output, the (H, W) of its padded input and the (height, width) of each image inside it.

        All images are padded to the size of the largest, which changes the output for the others.
        """
        if not guided and isinstance(self.model, ExportedNetwork):
            raise InputError("guided = False: an exported program cannot do without attention; use the model's folder")
        resized = [resize(a, evaluation_size(a.shape[0], a.shape[1], self.augment, scale)) for a in arrays]
        batch = collate(resized).to(self.device)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
            output = self.model(batch) if guided else self.model(batch, guided=False)
        return output, (batch.images.shape[2], batch.images.shape[3]), batch.image_sizes


def _load_all(images: Sequence[ImageLike], max_pixels: int) -> list[NDArray[np.uint8]]:
    if isinstance(images, str | bytes | Path | np.ndarray):
        raise InputError(f"images: a single {type(images).__name__}; give a list of images, such as [image]")
    return _apply_to_all(lambda image: _load(image, max_pixels), images, images)


def _apply_to_all(
    function: Callable[[Argument], Outcome], arguments: Sequence[Argument], images: Sequence[ImageLike]
) -> list[Outcome]:
    """`function` of each of the arguments, which belong to the images.

    Raises:
        InputError: it refuses some; every problem begins with the path or the number of its image.
    """
    outcomes, problems = [], []
    for number, (argument, image) in enumerate(zip(arguments, images, strict=True)):
        try:
            outcomes.append(function(argument))
        except InputError as error:
            name = image if isinstance(image, str | Path) else number
            problems += [f"image {name}: {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)
    return outcomes


def _load(image: ImageLike, max_pixels: int) -> NDArray[np.uint8]:
    if isinstance(image, np.ndarray):
        return _as_rgb(image)
    if isinstance(image, str | Path):
        if not Path(image).is_file():
            raise InputError("no such file; give the path of a JPEG or PNG")
        return decode_image(Path(image).read_bytes(), max_pixels)
    data: object = image if isinstance(image, bytes) or not hasattr(image, "read") else image.read()
    if isinstance(data, str):
        raise InputError('a file opened as text; open it with "rb"')
    if not isinstance(data, bytes):
        raise InputError(
            f"a {type(data).__name__}; give an array uint8[H, W, 3] RGB, encoded bytes, a path or a binary file"
        )
    return decode_image(data, max_pixels)


def _as_rgb(array: NDArray[Any]) -> NDArray[np.uint8]:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_image or not array.size:
        raise InputError(
            f"{array.dtype}{list(array.shape)}; give uint8[H, W, 3] RGB with values 0 … 255, [H, W] grey or [H, W, 4]"
        )
    return array[..., :3] if array.ndim == 3 else np.stack([array] * 3, axis=-1)
