"""What the verbs return, and what the stages hand to each other: a URI, a fingerprint and a few facts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from aunet.config_json import from_json
from aunet.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class VerbResult:
    """What a verb returns. The command line prints `text`, then `to_json` as one line, and exits with `exit_code`."""

    @classmethod
    def from_fields(cls, plain: Any, source_name: str) -> Self:
        """The result whose fields were written to the store, perhaps by another version: unknown ones are ignored.

        Args:
            source_name: where they come from, for messages.

        Raises:
            InputError: a field is missing that has no default, or has a value of another type.
        """
        own = {field.name for field in fields(cls)}
        known = {name: plain[name] for name in plain if name in own} if isinstance(plain, dict) else plain
        try:
            return from_json(cls, known, source_name)
        except InputError as error:
            cure = "delete the file and run the same again"
            raise InputError(f"{problem.removesuffix('; add it')}; {cure}" for problem in error.problems) from None

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as plain values."""
        return asdict(self)

    @property
    def text(self) -> str:
        """A document, such as a manifest, to be printed unchanged; usually empty."""
        return ""

    @property
    def exit_code(self) -> int:
        """0; another code where the result is that something is wrong (2) or refused (3)."""
        return 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What a stage would do if it were called now."""

    stage: str
    action: Literal["run", "resume", "skip"]
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact(VerbResult):
    """Something a stage made and committed."""

    uri: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedData(Artifact):
    """Shards and their manifest. `fingerprint` names the content, not the location."""

    num_images: dict[str, int]
    """Images per split."""
    num_quarantined: dict[str, int] = field(default_factory=dict)
    """Images per split that were left out; the manifest says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedRun(Artifact):
    """A finished training run. `fingerprint` is the run's id: prepared data, configuration and code."""

    model_uri: str
    """Folder with model.safetensors, config.json and sha256.json."""
    mlflow_run_id: str
    steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Report(Artifact):
    """An evaluation. `metrics` holds PQ SQ RQ (all, _th, _st), AP, AP_box and mIoU, in per cent."""

    metrics: dict[str, float]
    html_uri: str
    overlays_uri: str

    def to_json(self) -> dict[str, Any]:
        """The fields by name, and the metrics by theirs."""
        plain = asdict(self)
        return {**plain, **plain["metrics"]}


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredModel(Artifact):
    """A version in the model registry; `uri` is `models:/name/version`."""

    name: str
    version: int
    alias: str | None
    """The alias this version holds; None when the gate kept it where it was."""
    reason: str = ""
    """Why the alias went to this version, or did not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TunedWeights(VerbResult):
    """A finished search for λ1–λ4."""

    overrides: str
    """URI of what `train --overrides` accepts."""
    trials: int
    """Their number."""
    best: dict[str, Any]
    """The best trial, as the study's document has it."""
    confirmed: dict[str, Any]
    """`best` and `preset`, each with weights, mean and standard deviation of PQ over the seeds."""
    confirm_seeds: int
    study_uri: str
    html_uri: str
    val_slice: str
    """Names the validation images that trials were compared on."""
    mlflow_run_id: str
