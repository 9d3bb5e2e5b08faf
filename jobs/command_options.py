"""`submit` of a verb that has no preset: what it is given, and where the job is to run."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from jobs.options import Options, PredictOptions
from jobs.values import in_words
from pipelines.settings.cluster_config import ClusterConfig

CLUSTER = ClusterConfig()
ADDRESSES = {
    "predict": ("model", "images", "out", "panoptic_json", "panoptic_dir", "image_info"),
    "export": ("model", "out", "images"),
    "compare": ("a", "b", "gt_json", "gt_dir", "tags"),
    "score": ("gt_json", "gt_dir", "pred_json", "pred_dir"),
    "lint-data": (
        *("images", "panoptic_json", "panoptic_dir", "instances_json"),
        *("against_images", "against_panoptic_json", "out"),
    ),
    "verify": ("uri",),
    "gc": (),
    "doctor": (),
}
"""The verbs without a preset that `submit` sends, and their options that name files, folders or models."""
NOT_SENT = {
    "submit": "it sends the others; name the verb that is to run there",
    "prove": "it kills what it has started itself; run it on the machine that is to be proved",
    "preview": "its page is for whoever asks; run it here",
    "new-preset": "it writes for this checkout; run it here",
    "import-data": "it reads what people have on this machine; run it here, with --out in the bucket",
    "job": "it asks about jobs; run it here",
    "report": "it shows a report in this terminal; run it here",
    "serve": "it does not end; run serve --target kuberay, or here",
    "lineage": "it answers in seconds; run it here",
    "ledger": "it answers in seconds; run it here",
    "promote": "it decides in seconds; run it here",
    "rollback": "it decides in seconds; run it here",
    "reproduce": "it trains on as many GPUs as the model's run had; run it on a machine of such a cluster",
}
"""Verbs that `submit` refuses, and what to do instead."""


@dataclass(frozen=True, kw_only=True)
class CommandOptions(Options):
    """Where a job without a preset is to run."""

    target: Literal["local", "ray", "kuberay"] = "local"
    """local (this machine), ray (the cluster at RAY_ADDRESS) or kuberay."""
    dry_run: bool = False
    """Print what would be sent, and send nothing."""
    wait: bool = False
    """Show the job's log until it ends, and exit with its exit code."""
    gpus: bool = False
    """On KubeRay: nodes with a GPU for each of --workers of predict; otherwise a CPU for each."""
    cluster: ClusterConfig = CLUSTER
    """Where it runs on KubeRay."""


@dataclass(frozen=True, kw_only=True)
class CommandJob(Options):
    """A verb with its own options, as a job."""

    verb: str
    options: Options
    settings: CommandOptions

    def arguments(self) -> dict[str, Any]:
        """Of `pipelines.submit.submit_command`."""
        options, workers = self.options, None
        if isinstance(options, PredictOptions):  # without, it would label on the head, and not resume
            workers = options.workers or 1
            options = dataclasses.replace(options, workers=workers)
        words = list(_words(options, ADDRESSES[self.verb]))
        settings = {field.name: getattr(self.settings, field.name) for field in dataclasses.fields(self.settings)}
        return {"verb": self.verb, "words": words, "workers": workers, **settings}


def of_the_job(words: list[str]) -> tuple[list[str], list[str]]:
    """Divide the words after the verb: its own, and those of `CommandOptions`."""
    own: list[str] = []
    settings: list[str] = []
    current = own
    for word in words:
        if word.startswith("--"):
            name = word.partition("=")[0].replace("_", "-")
            current = settings if name in CommandOptions.named() or name.startswith("--cluster.") else own
        current.append(word)
    return own, settings


def _words(options: Options, addresses: Collection[str]) -> Iterator[tuple[str, str]]:
    """What gives a verb these options again: each word, and the option whose address it is, else ""."""
    for name in options.operands():
        if (value := getattr(options, name)) is not None:
            yield str(value), name.upper() if name in addresses else ""
    for option, field in options.named().items():
        value = getattr(options, field.name)
        if value == field.default:
            continue
        yield option, ""
        if field.default is not False:
            for item in value if isinstance(value, (tuple, list)) else (value,):
                yield in_words(item), option if field.name in addresses else ""
