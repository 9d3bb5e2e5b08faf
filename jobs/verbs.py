"""The verbs of the command line, the options they take, and the presets they work on."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import arg

from pipelines.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class PresetOptions:
    """A preset, and what the command line changes in it."""

    config: Annotated[RunConfig, arg(name="")]
    overrides: Annotated[
        str | None,
        arg(metavar="FILE", help="JSON of dotted names and values, laid over the preset before the options."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class RunOptions(PresetOptions):
    """A preset and one of its runs."""

    run: Annotated[
        str | None, arg(metavar="URI", help="The run; left out, it is the one that the same configuration names.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Panoptic maps of new images: COCO panoptic PNGs, their JSON and, on request, pictures."""

    model: str
    """Model: models:/NAME@ALIAS, models:/NAME/VERSION, or the URI of a model folder."""
    images: str
    """Folder or URI of the images."""
    out: str
    """Folder or URI to write to."""
    overlays: bool = False
    """Also write pictures: image, ground truth where known, prediction, side by side."""
    panoptic_json: str | None = None
    """Ground truth to show beside the prediction: its JSON."""
    panoptic_dir: str | None = None
    """Ground truth to show beside the prediction: its PNGs."""


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Panoptic quality of one COCO panoptic folder against another."""

    gt_json: str
    """Ground truth: JSON file."""
    gt_dir: str
    """Ground truth: folder of PNGs."""
    pred_json: str
    """Prediction: JSON file."""
    pred_dir: str
    """Prediction: folder of PNGs."""


@dataclass(frozen=True)
class Verb:
    """One verb: `pipelines.<name>.<name>`, imported when it is called."""

    name: str
    summary: str
    options: type[Any]

    @property
    def takes_preset(self) -> bool:
        return issubclass(self.options, PresetOptions)

    def call(self, options: Any) -> Any:
        """Import the verb's function and call it: `verb(config, …)` or `verb(option=value, …)`."""
        function = getattr(importlib.import_module(f"pipelines.{self.name}"), self.name)
        given = {name: getattr(options, name) for name in self.options.__dataclass_fields__}
        if not self.takes_preset:
            return function(**given)
        given.pop("overrides")  # already laid over the preset
        return function(given.pop("config"), **given)


VERBS = {
    verb.name: verb
    for verb in (
        Verb("preprocess", "raw images and annotations → prepared shards and their manifest", PresetOptions),
        Verb("train", "prepared data → run with checkpoints", PresetOptions),
        Verb("evaluate", "run → report: PQ, SQ, RQ, AP, mIoU, per class", RunOptions),
        Verb("register", "run and report → registered model, if the gate lets it", RunOptions),
        Verb("run", "all of the above in order, skipping what already exists", PresetOptions),
        Verb("predict", "images → COCO panoptic PNGs and JSON, overlays on request", PredictOptions),
        Verb("score", "two COCO panoptic folders → table of panoptic quality", ScoreOptions),
    )
}


def presets() -> dict[str, Callable[[], RunConfig]]:
    """The public functions of `pipelines.presets` that return a `RunConfig`, by name."""
    module = importlib.import_module("pipelines.presets")
    return {
        name: function
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not name.startswith("_")
        and function.__annotations__.get("return") in ("RunConfig", RunConfig)
    }
