"""The measurement of a run's model on a validation split, spread over the cluster, as plain values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray

from aunet.categories import Categories
from aunet.evaluation.outcomes import Outcomes
from pipelines.data.manifest import Manifest
from pipelines.measuring.remote import ShareActor
from pipelines.pages.picks import choose
from pipelines.runtime.cluster import connect
from pipelines.runtime.crew import Crew
from pipelines.runtime.growth import require
from pipelines.runtime.progress import counted
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store.artifacts import PreparedData, TrainedRun
from pipelines.store.parts import Parts

TASK_IMAGES = 16
"""Images of a task. The cut does not depend on the number of workers, so neither do sums of floats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was measured, and pictures for the report."""

    metrics: dict[str, float]
    """PQ SQ RQ (all, _th, _st), AP, AP_box and mIoU, in per cent."""
    per_class: list[dict[str, Any]]
    """One row per category: PQ, SQ, RQ, counts and IoU."""
    attention: dict[str, dict[str, float | None]]
    """Per attention map the mean of M' over `things` and `stuff`, and their `difference`."""
    categories: Categories
    outcomes: Outcomes
    """What happened to every segment."""
    tags: dict[int, dict[str, str]]
    """What is known of each image, by its id."""
    number_formats: list[str] = field(default_factory=list)
    """In which the workers ran the network, as `train.precision` names them."""
    gallery: list[dict[str, Any]] = field(default_factory=list)
    """Images for the page, as `gallery.draw_gallery` gives them."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """Name below the report's folder → PNG."""


def measure_split(
    config: RunConfig,
    run: TrainedRun,
    prepared: PreparedData,
    *,
    parts: Parts,
    champion: Outcomes | None = None,
    task_images: int = TASK_IMAGES,
    stand_ins: Mapping[str, Callable[..., Any]] | None = None,
) -> Evaluation:
    """Measure a run's model on the validation split: tasks of some images, each for the next worker that is free.

    Finished tasks are in the store: after a kill the same call goes on with the rest. The driver handles plain values
    only: it needs neither torch nor the network.

    Args:
        parts: where the tasks of this model, data, settings and code go; the caller deletes them.
        champion: of another model on the same images; the gallery then also shows what has changed.
        task_images: images of a task.
        stand_ins: functions in place of those that `share.Share` calls, by their fields.

    Raises:
        InputError: the model is damaged, or knows other categories than the data; or a part is damaged.
    """
    connect()
    num_gpus = int(config.train.use_gpu)
    require({"CPU": 1.0, "GPU": float(num_gpus)}, "evaluate")
    num_images = Manifest.load(prepared.uri).splits["val"].num_images
    tasks = range(-(-num_images // task_images))
    assignment = {
        "settings": to_json(config),
        "model_uri": run.model_uri,
        "prepared_uri": prepared.uri,
        "parts": parts,
        "task_images": task_images,
        **(stand_ins or {}),
    }
    actor = ray.remote(num_cpus=1, num_gpus=num_gpus)(ShareActor)
    finished = parts.finished() & set(tasks)
    with (
        Crew(lambda: actor.remote(assignment), min(config.train.max_workers, len(tasks))) as crew,
        counted("evaluate", num_images) as advance,
    ):
        if finished:
            measured = sum(min(task_images, num_images - task * task_images) for task in finished)
            print(f"evaluate · {measured} of {num_images} images are measured already; going on", file=sys.stderr)
            advance(measured)
        waiting = [task for task in tasks if task not in finished]
        for _, images in crew.results(waiting, lambda worker, task: worker.call.remote("measure", task)):
            advance(images)
        combined = _result(crew, "combine")
        picks = choose(combined["outcomes"], combined["categories"], champion)
        drawn = _result(crew, "draw", picks)
    return Evaluation(**combined, gallery=drawn["items"], pictures=drawn["pictures"])


def _result(crew: Crew, method: str, *arguments: Any) -> Any:
    """What one of the workers answers."""
    call: Callable[[Any, Any], Any] = lambda worker, _: worker.call.remote(method, *arguments)  # noqa: E731
    ((_, result),) = crew.results([method], call)
    return result
