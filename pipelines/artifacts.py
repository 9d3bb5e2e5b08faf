"""What the stages hand to each other: a URI, a fingerprint and a few facts, JSON on the wire."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """Something a stage made and committed."""

    uri: str
    fingerprint: str

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedData(Artifact):
    """Shards and their manifest. `fingerprint` names the content, not the place."""

    num_images: dict[str, int]
    """Images per split."""
    num_quarantined: dict[str, int] = field(default_factory=dict)
    """Images per split that were left out; the manifest says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedRun(Artifact):
    """A finished training run. `fingerprint` is the run's id: prepared data, configuration and code."""

    model_uri: str
    """Folder with model.safetensors, config.json and manifest.json."""
    mlflow_run_id: str
    steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Report(Artifact):
    """An evaluation. `metrics` holds PQ SQ RQ (all, _th, _st), AP, AP_box and mIoU, in per cent."""

    metrics: dict[str, float]
    html_uri: str
    overlays_uri: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredModel(Artifact):
    """A version in the model registry; `uri` is `models:/name/version`."""

    name: str
    version: int
    alias: str | None
    """The alias this version holds; None when the gate kept it where it was."""
