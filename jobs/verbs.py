"""The verbs of the command line, the options they take, and the presets they work on."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_type_hints

from tyro.conf import Positional, Suppress, arg

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
class PlanOptions(PresetOptions):
    """A preset, and what the machines cost."""

    price: Annotated[
        float | None, arg(metavar="FLOAT", help="Price of one hour of the whole cluster; the plan then names the cost.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class SubmitOptions(RunOptions):
    """A verb on a preset, and where it is to run."""

    verb: Annotated[str, Suppress]
    preset: Annotated[str, Suppress]
    target: Annotated[
        Literal["local", "ray", "kuberay", "kubeflow"],
        arg(metavar="TARGET", help="local (this machine), ray (RAY_ADDRESS), kuberay or kubeflow."),
    ] = "local"
    dry_run: Annotated[bool, arg(metavar="", help="Print what would be sent, and send nothing.")] = False
    wait: Annotated[
        bool, arg(metavar="", help="Show the job's log until it ends; its exit code becomes this one's.")
    ] = False
    now: Annotated[
        bool, arg(metavar="", help="Run one tick of retrain on kuberay now, instead of setting up its schedule.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """A submitted job: its state, its log, its end."""

    id: str
    """Submission id, as `submit` returned it."""
    target: Literal["local", "ray", "kuberay"] = "local"
    """Where it was submitted to."""
    logs: bool = False
    """Also print what it has said so far."""
    stop: bool = False
    """Stop it; its checkpoints stay."""
    namespace: str = "default"
    """Kubernetes namespace it was submitted to."""


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """This machine and what it reaches: versions, operator, storage, MLflow."""


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
    attention: bool = False
    """Also write pictures: where the network's attention expects background, map by map."""
    panoptic_json: str | None = None
    """Ground truth to show beside the prediction: its JSON."""
    panoptic_dir: str | None = None
    """Ground truth to show beside the prediction: its PNGs."""
    image_info: str | None = None
    """JSON in COCO format that lists the images to label, such as image_info_test-dev2017.json."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """A model as one file that PyTorch runs without this project's model code, and how exactly it agrees."""

    model: str
    """Model: models:/NAME@ALIAS, models:/NAME/VERSION, or the URI of a model folder or a run."""
    out: str
    """Folder or URI to write to."""
    images: str | None = None
    """Folder or URI of images to compare on; left out, generated scenes."""


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


@dataclass(frozen=True, kw_only=True)
class LintDataOptions:
    """Every defect of one split of raw data in COCO panoptic format."""

    images: str
    """Folder or URI of the images."""
    panoptic_json: str
    """Panoptic JSON."""
    panoptic_dir: str
    """Folder or URI of its PNGs."""
    instances_json: str | None = None
    """Instances JSON of the same images."""
    against_images: str | None = None
    """Images of the other split: pictures that are in both are found."""
    against_panoptic_json: str | None = None
    """Panoptic JSON of the other split, where not all of those images belong to it."""
    out: str | None = None
    """Folder or URI for lint.json and the page lint.html."""


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """What has hashes, read again."""

    uri: Annotated[str, Positional, arg(metavar="URI")]
    """Prepared data, a run, a model folder, or a whole store."""


@dataclass(frozen=True, kw_only=True)
class GcOptions:
    """What nothing refers to in the store that AUNET_STORE names."""

    dry_run: Annotated[bool, arg(metavar="", help="Only say what would be deleted.")] = False
    older_than_hours: float = 24.0
    """Leave what is younger, which somebody may be about to use."""


@dataclass(frozen=True)
class Verb:
    """One verb: `pipelines.<function>.<function>`, imported when it is called."""

    name: str
    summary: str
    options: type[Any]

    @property
    def takes_preset(self) -> bool:
        return issubclass(self.options, PresetOptions)

    @property
    def takes_verb(self) -> bool:
        return issubclass(self.options, SubmitOptions)

    @property
    def operands(self) -> str:
        """What stands between the verb and its options."""
        words = ["VERB"] * self.takes_verb + ["PRESET"] * self.takes_preset + [n.upper() for n in self.positional]
        return "".join(f" {word}" for word in words)

    @property
    def positional(self) -> list[str]:
        """Options that are given without their name."""
        hints = get_type_hints(self.options, include_extras=True)
        return [name for name, hint in hints.items() if Positional in getattr(hint, "__metadata__", ())]

    @property
    def function(self) -> str:
        """The verb as Python spells it: module and function of `pipelines`."""
        return self.name.replace("-", "_")

    def call(self, options: Any) -> Any:
        """Import the verb's function and call it: `verb(config, …)` or `verb(option=value, …)`."""
        function = getattr(importlib.import_module(f"pipelines.{self.function}"), self.function)
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
        Verb("tune", "prepared data → the best loss weights λ1–λ4, and the study that found them", PresetOptions),
        Verb("retrain", "one scheduled tick: new data? train, evaluate, promote; else nothing to do", PresetOptions),
        Verb("plan", "what would run, what it needs, and what cannot run", PlanOptions),
        Verb("submit", "a verb and a preset → a job on this machine, Ray, KubeRay or Kubeflow", SubmitOptions),
        Verb("job", "a submitted job → its state, its log", JobOptions),
        Verb("doctor", "this machine and what it reaches; each problem with the line that repairs it", DoctorOptions),
        Verb("predict", "images → COCO panoptic PNGs and JSON, overlays on request", PredictOptions),
        Verb(
            "export",
            "a model → one file for torch.export.load, compared with the network it was made of",
            ExportOptions,
        ),
        Verb("lint-data", "raw images and annotations → every defect, with its rule, place and cure", LintDataOptions),
        Verb("verify", "prepared data, a run, a model or a store → what is damaged", VerifyOptions),
        Verb("gc", "orphaned shards and checkpoints of the store; --dry-run first", GcOptions),
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
