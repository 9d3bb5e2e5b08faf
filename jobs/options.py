"""The options of every verb: one dataclass each. The text under a field is its help."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.presets import PRESETS
from pipelines.settings.run_config import RunConfig


def operand(position: int = 1, *, optional: bool = False) -> Any:
    """A field that is given by its position after the verb; None where an optional one is left out."""
    default = None if optional else dataclasses.MISSING
    return field(default=default, metadata={"operand": position})


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a command line gives a verb."""

    @classmethod
    def operands(cls) -> list[str]:
        """The fields that are given by position, in order."""
        placed = [field for field in dataclasses.fields(cls) if "operand" in field.metadata]
        return [field.name for field in sorted(placed, key=lambda field: field.metadata["operand"])]

    @classmethod
    def needed(cls) -> list[str]:
        """The operands that are not optional, which come first."""
        optional = {field.name for field in dataclasses.fields(cls) if field.default is None}
        return [name for name in cls.operands() if name not in optional]

    @classmethod
    def usage(cls) -> dict[str, str]:
        """The operands as help shows them, by name: `PRESET`, or `[MODEL]` where it is optional."""
        needed = cls.needed()
        return {name: name.upper() if name in needed else f"[{name.upper()}]" for name in cls.operands()}

    @classmethod
    def named(cls) -> dict[str, dataclasses.Field[Any]]:
        """The fields that are given by name, by their option: `--dry-run`."""
        apart = ("config", "changes", *cls.operands(), *cls.sections())
        others = [field for field in dataclasses.fields(cls) if field.name not in apart]
        return {f"--{field.name.replace('_', '-')}": field for field in others}

    @classmethod
    def sections(cls) -> dict[str, Any]:
        """The fields that hold settings, which are given by dotted names, and their defaults: `--cluster.image`."""
        defaults = {field.name: field.default for field in dataclasses.fields(cls)}
        return {name: value for name, value in defaults.items() if dataclasses.is_dataclass(value)}

    def arguments(self) -> dict[str, Any]:
        """The arguments of the verb's function."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


@dataclass(frozen=True, kw_only=True)
class PresetOptions(Options):
    """A preset, and what the command line changes in it."""

    preset: str = operand()
    config: RunConfig
    """The preset with all changes applied."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What the command line and its file name, also where the preset has that value, by dotted names."""
    overrides: str | None = None
    """JSON file of dotted names and values, applied to the preset before the options."""

    def arguments(self) -> dict[str, Any]:
        given = super().arguments()
        return {name: value for name, value in given.items() if name not in ("preset", "overrides", "changes")}


@dataclass(frozen=True, kw_only=True)
class RunOptions(PresetOptions):
    """A preset and one of its runs."""

    run: str | None = None
    """URI of the run; if omitted, the run that this configuration names."""

    def of_inference(self) -> dict[str, Any]:
        """Those of the changes with which a named run is measured instead of with its model's own, by dotted names."""
        return {name: value for name, value in self.changes.items() if name.startswith(("augment.", "fusion."))}


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(RunOptions):
    """A preset and one of its runs, or a run of another preset, measured on the data of this one."""

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "changes": self.of_inference()}


@dataclass(frozen=True, kw_only=True)
class PlanOptions(PresetOptions):
    """A preset, and what the machines cost."""

    price: float | None = None
    """Price of one hour of the whole cluster; the plan then includes the cost."""
    gpu: str | None = None
    """GPU of the workers, such as "A100-SXM4-40GB", for memory and time; if omitted, this machine's."""
    mtbf_hours: float | None = None
    """Mean hours between failures of any machine; the plan then includes the best interval of checkpoints, and the cost
    what failures cost."""
    network_gbit_per_s: float = 100.0
    """Bandwidth of each machine's network."""


@dataclass(frozen=True, kw_only=True)
class ProveOptions(PresetOptions):
    """A preset, and what is done to its training."""

    kills: int = 5
    """Faults: worker and driver killed, driver told to end, newest checkpoint damaged, folder of the checkpoints away
    for a while; all kinds in turn, at random steps."""
    steps: int = 60
    """About so many steps, over three and a half batches of images of the preset, with a checkpoint every epoch and
    every three seconds and without evaluations; all other settings stay."""
    seed: int = 0
    """Another number gives other steps and another order of the faults."""
    without_protection: bool = False
    """Kill only drivers, and leave of each newest checkpoint what other trainers keep: shows what would be lost."""


@dataclass(frozen=True, kw_only=True)
class SubmitOptions(RunOptions):
    """A verb on a preset, and where it is to run."""

    verb: str = operand(0)
    """Verb with a preset; predict, export, compare, score, lint-data, verify, gc and doctor are sent without one, see
    `submit predict --help`."""
    target: Literal["local", "ray", "kuberay", "kubeflow"] = "local"
    """local (this machine), ray (the cluster at RAY_ADDRESS), kuberay or kubeflow."""
    dry_run: bool = False
    """Print what would be sent, and send nothing."""
    wait: bool = False
    """Show the job's log until it ends, and exit with its exit code."""
    now: bool = False
    """Run one tick of retrain on kuberay now, instead of setting up its schedule."""

    def arguments(self) -> dict[str, Any]:
        keep = self.of_inference() if self.verb == "evaluate" and self.run else {}
        return {**super().arguments(), "preset": self.preset, "base": PRESETS[self.preset](), "keep": keep}


@dataclass(frozen=True, kw_only=True)
class JobOptions(Options):
    """A submitted job."""

    id: str
    """Submission id, as returned by submit."""
    target: Literal["local", "ray", "kuberay", "kubeflow"] = "local"
    """Where it was submitted to."""
    logs: bool = False
    """Also print its log so far."""
    stop: bool = False
    """Stop it; its checkpoints are kept."""
    namespace: str = "default"
    """Kubernetes namespace it was submitted to."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions(Options):
    """A model, images, and what to write."""

    model: str
    """Model: models:/NAME@ALIAS, models:/NAME/VERSION, or the URI of a model folder."""
    images: str
    """Folder or URI of the images, or one image, or prepared data."""
    out: str
    """Folder or URI to write to."""
    overlays: bool = False
    """Also write pictures: image, ground truth if known, prediction, side by side."""
    attention: bool = False
    """Also write pictures of where the network's attention expects background, map by map."""
    panoptic_json: str | None = None
    """Ground truth to show beside the prediction: its JSON."""
    panoptic_dir: str | None = None
    """Ground truth to show beside the prediction: its PNGs."""
    image_info: str | None = None
    """JSON in COCO format that lists the images to label, such as image_info_test-dev2017.json."""
    max_pixels: int | None = None
    """Pixels that an image may have; None: 89478485. Every million needs about 25 MB of memory."""
    trust_exported: bool = False
    """Also load a program that export wrote, which can run any code: only if you trust whoever made it."""
    workers: int | None = None
    """Processes that label at the same time, on the cluster at RAY_ADDRESS or here; run again, it resumes."""
    submission: str | None = None
    """Name of the method: also write the zip that a test server wants, after checking it."""
    submission_kind: Literal["coco", "cityscapes"] = "coco"
    """Test server: coco (test-dev, with --image-info) or cityscapes."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """A model, and where to write the exported file."""

    model: str
    """Model: models:/NAME@ALIAS, models:/NAME/VERSION, or the URI of a model folder or a run."""
    out: str
    """Folder or URI to write to."""
    images: str | None = None
    """Folder or URI of images for the comparison; if omitted, generated scenes."""


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(Options):
    """Two COCO panoptic folders."""

    gt_json: str
    """Ground truth: JSON file."""
    gt_dir: str
    """Ground truth: folder of PNGs."""
    pred_json: str
    """Prediction: JSON file."""
    pred_dir: str
    """Prediction: folder of PNGs."""
    workers: int | None = None
    """Threads that decode and compare; by default as many as there are CPUs."""


@dataclass(frozen=True, kw_only=True)
class LintDataOptions(Options):
    """One split of raw data in COCO panoptic format."""

    images: str
    """Folder or URI of the images."""
    panoptic_json: str
    """Panoptic JSON."""
    panoptic_dir: str
    """Folder or URI of its PNGs."""
    instances_json: str | None = None
    """Instances JSON of the same images."""
    against_images: str | None = None
    """Images of the other split, to find pictures that are in both."""
    against_panoptic_json: str | None = None
    """Panoptic JSON of the other split, if some of those images do not belong to it."""
    out: str | None = None
    """Folder or URI for lint.json and the page lint.html."""


@dataclass(frozen=True, kw_only=True)
class LineageOptions(Options):
    """A model, or an image."""

    model: str | None = operand(optional=True)
    """Model: models:/NAME@ALIAS, models:/NAME/VERSION, or the URI of a model folder or a run."""
    image: str | None = None
    """Image file, or the first 8 or more hex digits of its SHA-256; tells which models saw it."""


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions(Options):
    """A model."""

    model: str = operand()
    """Model: models:/NAME@ALIAS, models:/NAME/VERSION, or the URI of a model folder or a run."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    """A run that was evaluated."""

    run: str = operand()
    """URI of the run, or its name in the store."""


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(Options):
    """Something whose content has hashes."""

    uri: str = operand()
    """Prepared data, a run, a model folder, or a whole store."""


@dataclass(frozen=True, kw_only=True)
class GcOptions(Options):
    """What to delete from the store at AUNET_STORE."""

    dry_run: bool = False
    """Only report what would be deleted."""
    older_than_hours: float = 24.0
    """Keep anything younger, which may be about to be used."""
