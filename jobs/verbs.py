"""The verbs of the command line: what each does, its options, and the function behind it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jobs.compare_options import CompareOptions
from jobs.importing_options import ImportDataOptions
from jobs.ledger_options import LedgerOptions, PromoteOptions, RollbackOptions
from jobs.options import (
    EvaluateOptions,
    ExportOptions,
    GcOptions,
    JobOptions,
    LineageOptions,
    LintDataOptions,
    Options,
    PlanOptions,
    PredictOptions,
    PresetOptions,
    ProveOptions,
    ReportOptions,
    ReproduceOptions,
    RunOptions,
    ScoreOptions,
    SubmitOptions,
    VerifyOptions,
)
from jobs.preset_options import NewPresetOptions, PreviewOptions
from jobs.serving_options import ServeOptions


@dataclass(frozen=True)
class Outcome:
    """What a verb leaves for the command line: a document, a JSON object, and how the process ends."""

    result: dict[str, Any]
    text: str = ""
    """Printed unchanged before the result."""
    exit_code: int = 0


@dataclass(frozen=True)
class Verb:
    """One verb. Its module is imported when it is called, so that help and mistakes are answered at once."""

    name: str
    summary: str
    options: type[Options]
    module: str = ""
    """Where its function is; "": `pipelines.<verb>`."""

    @property
    def has_preset(self) -> bool:
        return issubclass(self.options, PresetOptions)

    def function(self) -> Callable[..., Any]:
        """The function of the same name: options in, a `VerbResult` out."""
        name = self.name.replace("-", "_")
        return getattr(importlib.import_module(self.module or f"pipelines.{name}"), name)

    def call(self, options: Options, function: Callable[..., Any] | None = None) -> Outcome:
        """Call the verb's function, or `function` in its place."""
        result = (function or self.function())(**options.arguments())
        return Outcome(result.to_json(), result.text, result.exit_code)


STAGES, SUBMITTING = "jobs.stages", "jobs.submitting"
VERBS = {
    verb.name: verb
    for verb in (
        Verb("preprocess", "raw images and annotations → prepared shards and their manifest", PresetOptions),
        Verb("train", "prepared data → run with checkpoints", PresetOptions, STAGES),
        Verb("evaluate", "run → report: PQ, SQ, RQ, AP, mIoU, per class", EvaluateOptions, STAGES),
        Verb("report", "the report of a run, in the terminal: verdict, classes, two pictures, its page", ReportOptions),
        Verb(
            "compare",
            "two runs, models or folders of predictions → is the second better, how sure, where",
            CompareOptions,
        ),
        Verb("register", "run and report → registered model, if the gate allows it", RunOptions, STAGES),
        Verb("run", "all of the above in order, skipping what already exists", PresetOptions),
        Verb("tune", "prepared data → the best loss weights λ1–λ4, and the study behind them", PresetOptions, STAGES),
        Verb("retrain", "one scheduled tick: new data? train, evaluate, promote; else nothing to do", PresetOptions),
        Verb("new-preset", "a folder of raw data → a preset for it, every setting with its reason", NewPresetOptions),
        Verb("preview", "a preset → a page of what the network will see, before it is trained", PreviewOptions),
        Verb("plan", "what would run, what it needs, and what cannot run", PlanOptions),
        Verb(
            "prove",
            "a preset, shortened, with and without faults → certificate that nothing is lost",
            ProveOptions,
            "jobs.proving",
        ),
        Verb(
            "submit",
            "a verb, with its preset or without → a job on this machine, Ray, KubeRay, Kubeflow",
            SubmitOptions,
            SUBMITTING,
        ),
        Verb("job", "a submitted job → its state and its log", JobOptions),
        Verb("doctor", "this machine and what it can reach; each problem with the line that fixes it", Options),
        Verb("predict", "images → COCO panoptic PNGs and JSON, overlays on request", PredictOptions),
        Verb("serve", "a model → HTTP: image in, panoptic PNG and JSON out, until it is told to end", ServeOptions),
        Verb("export", "a model → one file for torch.export.load, compared with the original network", ExportOptions),
        Verb(
            "import-data",
            "COCO, masks, LabelMe, CVAT, VOC, Mapillary, ADE20K, Cityscapes → one COCO panoptic folder, linted",
            ImportDataOptions,
        ),
        Verb("lint-data", "raw images and annotations → every defect, its rule, location and cure", LintDataOptions),
        Verb("ledger", "who became champion, when and why; --reconcile lets MLflow follow it", LedgerOptions),
        Verb("promote", "a measured model → champion, if the gate allows it", PromoteOptions),
        Verb("rollback", "an earlier champion → champion again, in seconds", RollbackOptions),
        Verb("lineage", "a model → its data, code and promotions; or an image → which models saw it", LineageOptions),
        Verb("reproduce", "a model → its run once more, and whether the weights are equal", ReproduceOptions),
        Verb("verify", "prepared data, a run, a model or a store → what is damaged", VerifyOptions),
        Verb("gc", "orphaned shards and checkpoints of the store; --dry-run first", GcOptions),
        Verb("score", "two COCO panoptic folders → table of panoptic quality", ScoreOptions),
    )
}
"""Every verb by its name, in the order in which help lists them."""
