"""A search over λ1–λ4 of Eq. 7: its space, what its trials train and are measured on, how many run at a time.

The common scale of the four weights is one more learning rate (with SGD exactly, with AdamW nearly nothing), so it is
not searched: a point holds the three log-ratios ln(λ2/λ1), ln(λ3/λ1) and ln(λ4/λ1), each in ±ln(span), and the weights
of a point have the geometric mean of the paper's COCO setting {1, 1, 1, 0.3}.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from aunet.config import LossWeights
from aunet.errors import Refused
from pipelines import storage
from pipelines.artifacts import PreparedData
from pipelines.cluster import needs
from pipelines.config import RunConfig, fingerprint, to_json
from pipelines.train import ARTIFACT, run_uri

Point = dict[str, float]
"""Log-ratios by the name of the weight above λ1 = `rpn`: box, mask, semantic."""
RATIOS = ("box", "mask", "semantic")
COCO = LossWeights(rpn=1.0, box=1.0, mask=1.0, semantic=0.3)
CITYSCAPES = LossWeights(rpn=1.0, box=0.75, mask=1.0, semantic=1.0)
EQUAL = LossWeights(rpn=1.0, box=1.0, mask=1.0, semantic=1.0)
SCALE = math.prod(asdict(COCO).values()) ** 0.25
"""Geometric mean of the four weights of every trial."""


def weights_of(point: Mapping[str, float]) -> LossWeights:
    """λ1–λ4 of a point: its ratios, at the common scale, to six significant digits."""
    logs = {"rpn": 0.0, **{name: point[name] for name in RATIOS}}
    shift = math.log(SCALE) - sum(logs.values()) / 4
    return LossWeights(**{name: float(f"{math.exp(value + shift):.6g}") for name, value in logs.items()})


def point_of(weights: LossWeights, span: float) -> Point:
    """The log-ratios of λ1–λ4, each moved into ±ln(span); a weight of 0 counts as the smallest there is."""
    logs = {name: math.log(max(value, 1e-300)) for name, value in asdict(weights).items()}
    edge = math.log(span)
    return {name: min(max(logs[name] - logs["rpn"], -edge), edge) for name in RATIOS}


def known_points(own: LossWeights, span: float) -> list[tuple[str, Point]]:
    """What every search tries first, each with where it comes from; a point that comes twice is taken once."""
    named = {"the preset": own, "paper, COCO": COCO, "paper, Cityscapes": CITYSCAPES, "equal": EQUAL}
    found: list[tuple[str, Point]] = []
    for origin, weights in named.items():
        point = point_of(weights, span)
        if all(max(abs(point[name] - other[name]) for name in RATIOS) > 1e-4 for _, other in found):
            found.append((origin, point))
    return found


def trial_config(config: RunConfig, weights: LossWeights, study: str = "", seed: int | None = None) -> RunConfig:
    """What a trial trains: the preset with other weights, for `tune.epochs`, measured at the period of the rungs.

    The learning rate stays flat after the warm-up, so that what a trial has reached at a rung does not depend on
    how long it was to go on.

    Args:
        study: becomes part of the run's identity, so that no other study's run is taken for this trial.
        seed: of the training; None: the preset's.
    """
    train = replace(
        config.train,
        num_workers=config.tune.num_workers,
        epochs=config.tune.epochs,
        schedule="flat_cosine",
        cooldown=0.0,
        checkpoint_every=config.tune.grace_epochs,
        evaluate_every=config.tune.grace_epochs,
        val_images=config.tune.val_images,
        seed=config.train.seed if seed is None else seed,
    )
    return replace(config, loss=weights, train=train, version=study)


def validation_slice(prepared_uri: str, count: int) -> tuple[str, int]:
    """What the images are called, together, that trials are compared on, and how many they are.

    Args:
        count: `tune.val_images`.
    """
    from pipelines.data.ingest import fixed_choice
    from pipelines.data.manifest import Manifest

    split = Manifest.load(prepared_uri).splits["val"]
    chosen = fixed_choice(split.num_images, count)
    return fingerprint(split.rows_sha256, chosen), len(chosen)


def concurrency(config: RunConfig, cluster: Mapping[str, float]) -> int:
    """How many trials run at a time: every one gets all its workers at once, or the study is refused.

    A trial whose workers never all start would keep those of the others waiting for ever.

    Args:
        cluster: resources by Ray's names, `CPU` and `GPU`.

    Raises:
        Refused: the cluster does not carry a trial, or not as many as asked for; with the arithmetic.
    """
    tune = config.tune
    takes = {k: n for k, n in needs(tune.num_workers, config.train.use_gpu, config.feed).items() if n}
    kind = min(takes, key=lambda k: int(cluster.get(k, 0)) // takes[k])
    there = int(cluster.get(kind, 0))
    fits = there // takes[kind]
    each = takes[kind] // tune.num_workers
    arithmetic = (
        f"a trial takes tune.num_workers = {tune.num_workers} × {each} {kind}, the cluster has {there}: "
        f"floor({there} / {takes[kind]}) = {fits} at a time"
    )
    if not fits:
        raise Refused(f"no trial could start: {arithmetic}; take fewer workers, or a larger cluster")
    if tune.max_concurrent > fits:
        raise Refused(
            f"tune.max_concurrent = {tune.max_concurrent} could wait for ever: {arithmetic}; "
            f"take --tune.max_concurrent {fits} or fewer, fewer workers, or a larger cluster"
        )
    return tune.max_concurrent or fits


def study_id(config: RunConfig, prepared: PreparedData) -> str:
    """Names the study that a configuration makes of prepared data: what changes the trials changes the name."""
    trial = trial_config(config, config.loss)
    search = replace(config.tune, max_concurrent=0, confirm_seeds=0)
    parts = (prepared.fingerprint, trial.model, trial.augment, trial.loss, trial.fusion, trial.train, search)
    return f"{config.name}-{fingerprint(*parts, *filter(None, [config.version]))}"


@dataclass(frozen=True)
class Study:
    """What all parts of one study share."""

    config: RunConfig
    prepared: PreparedData
    uri: str
    mlflow_run_id: str
    slots: int
    """Trials at a time."""

    @property
    def name(self) -> str:
        return self.uri.rsplit("/", 1)[1]

    def trial_config(self, weights: LossWeights, seed: int | None = None) -> RunConfig:
        """What a trial with these weights trains."""
        return trial_config(self.config, weights, self.name, seed)

    def run_uri(self, weights: LossWeights) -> str:
        """Where the run of a trial lies."""
        return run_uri(self.trial_config(weights), self.prepared)

    def is_trained(self, weights: LossWeights) -> bool:
        """Whether the run of a trial was finished."""
        return storage.exists(storage.join(self.run_uri(weights), ARTIFACT))

    def settings(self) -> dict[str, Any]:
        """What processes on other nodes need to train for this study; a password they have from where they are."""
        from pipelines.tracking_address import tracking_uri, without_password

        places = {"AUNET_STORE": storage.store_root(), "MLFLOW_TRACKING_URI": tracking_uri()}
        environment = {name: value for name, value in places.items() if value == without_password(value)}
        return {
            "config": to_json(self.config),
            "study": self.name,
            "prepared": self.prepared,
            "parent": self.mlflow_run_id,
            "environment": environment,
        }
