"""A search over λ1–λ4 of Eq. 7: its space, what its trials train and are measured on, how many run at a time.

The common scale of the four weights is one more learning rate with SGD, and has almost no effect with AdamW. So it is
not searched: a point holds the three log-ratios ln(λ2/λ1), ln(λ3/λ1) and ln(λ4/λ1), each in ±ln(span), and the weights
of a point have the geometric mean of the paper's COCO setting {1, 1, 1, 0.3}.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace

from aunet.config import LossWeights
from aunet.errors import Refused
from pipelines.data.manifest import Manifest
from pipelines.data.sample_plan import fixed_choice
from pipelines.runtime.cluster import needs
from pipelines.settings.run_config import RunConfig, fingerprint
from pipelines.store.artifacts import PreparedData

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
    """What every search tries first, each with its origin; a point that occurs twice is tried once."""
    named = {"the preset": own, "paper, COCO": COCO, "paper, Cityscapes": CITYSCAPES, "equal": EQUAL}
    known: list[tuple[str, Point]] = []
    for origin, weights in named.items():
        point = point_of(weights, span)
        if all(max(abs(point[name] - other[name]) for name in RATIOS) > 1e-4 for _, other in known):
            known.append((origin, point))
    return known


def trial_config(config: RunConfig, weights: LossWeights, study: str = "", seed: int | None = None) -> RunConfig:
    """What a trial trains: the preset with other weights, for `tune.epochs`, measured at the period of the rungs.

    The learning rate stays flat after the warm-up, so that a trial's result at a rung does not depend on its
    planned length; and no trial ends early by itself, because what went on longer would count as better. Weights that
    are searched are not learned besides. Its own workers measure it: what they find decides whether it goes on, and a
    task beside them would need room that `concurrency` does not count.

    Args:
        study: becomes part of the run's identity, so that no run of another study is mistaken for this trial.
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
        validate="inline",
        val_images=config.tune.val_images,
        seed=config.train.seed if seed is None else seed,
        loss_weighting="fixed",
        patience=0,
        release="last",
    )
    return replace(config, loss=weights, train=train, version=study)


def validation_slice(prepared_uri: str, count: int) -> tuple[str, int]:
    """A name for the images on which trials are compared, and their number.

    Args:
        count: `tune.val_images`.
    """
    split = Manifest.load(prepared_uri).splits["val"]
    chosen = fixed_choice(split.num_images, count)
    return fingerprint(split.rows_sha256, chosen), len(chosen)


def concurrency(config: RunConfig, cluster: Mapping[str, float]) -> int:
    """How many trials run at a time: every one gets all its workers at once, or the study is refused.

    A trial whose workers never all start would keep the others waiting for ever.

    Args:
        cluster: resources by Ray's names, `CPU` and `GPU`.

    Raises:
        Refused: the cluster cannot hold a trial, or not as many as asked for; with the arithmetic.
    """
    tune = config.tune
    needed = {k: n for k, n in needs(tune.num_workers, config.train.use_gpu, config.feed).items() if n}
    kind = min(needed, key=lambda k: int(cluster.get(k, 0)) // needed[k])
    available = int(cluster.get(kind, 0))
    fits = available // needed[kind]
    each = needed[kind] // tune.num_workers
    arithmetic = (
        f"a trial needs tune.num_workers = {tune.num_workers} × {each} {kind}, the cluster has {available}: "
        f"floor({available} / {needed[kind]}) = {fits} at a time"
    )
    if not fits:
        raise Refused(f"no trial could start: {arithmetic}; use fewer workers, or a larger cluster")
    if tune.max_concurrent > fits:
        raise Refused(
            f"tune.max_concurrent = {tune.max_concurrent} could wait for ever: {arithmetic}; "
            f"use --tune.max_concurrent {fits} or fewer, fewer workers, or a larger cluster"
        )
    return tune.max_concurrent or fits


def study_id(config: RunConfig, prepared: PreparedData) -> str:
    """Names the study that a configuration makes of prepared data: what changes the trials changes the name."""
    trial = trial_config(config, config.loss)
    search = replace(config.tune, max_concurrent=0, confirm_seeds=0)
    parts = (prepared.fingerprint, trial.model, trial.augment, trial.loss, trial.fusion, trial.train, search)
    return f"{config.name}-{fingerprint(*parts, *filter(None, [config.version]))}"
