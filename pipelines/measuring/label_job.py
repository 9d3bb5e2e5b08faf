"""Labelling many images with workers of Ray: tasks of some images, each committed, so that a killed job goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import ray

from aunet.errors import InputError
from aunet.predictor import Predictor
from pipelines.measuring.batches import Batches
from pipelines.measuring.image_labels import FolderLabels, ImageEntry, check_attention
from pipelines.measuring.models import load_predictor
from pipelines.runtime.cluster import connect, resources
from pipelines.runtime.crew import Crew
from pipelines.runtime.growth import require
from pipelines.runtime.progress import counted
from pipelines.settings.run_config import fingerprint
from pipelines.store import storage
from pipelines.store.hashes import digest
from pipelines.store.listing import Listing
from pipelines.store.parts import PARTS, Parts
from pipelines.store.predictions_folder import PredictionsFolder

TASK_IMAGES = 32
"""Images of a task: what is done again after a kill, at most, by each worker."""
MAX_ROUNDS = 3
"""Times that tasks whose maps are missing are done again."""


@dataclass(kw_only=True)
class LabelWorker:
    """What a worker needs to know; the model is loaded at the first call, from which its problems come then."""

    model: str
    """As it was asked for, for messages."""
    model_uri: str
    trust_exported: bool
    labels: FolderLabels
    out: str
    parts: Parts
    entries: list[ImageEntry]
    load: Callable[..., Predictor] = load_predictor

    @cached_property
    def batches(self) -> Batches:
        """The model.

        Raises:
            InputError: it is damaged, or has no attention that could be drawn.
        """
        predictor = self.load(self.model_uri, trust_exported=self.trust_exported)
        if self.labels.attention:
            check_attention(predictor, self.model)
        return Batches(predictor)

    def categories(self) -> list[dict[str, Any]]:
        """The model's categories, as the JSON has them."""
        return self.batches.predictor.categories.to_json()

    def label(self, task: int) -> int:
        """Label the images of a task, write their maps, commit what the JSON says of them; how many they are."""
        entries = self.entries[task * TASK_IMAGES : (task + 1) * TASK_IMAGES]
        read, problems, lines = [], [], {}
        for entry in entries:
            try:
                read.append(self.labels.read(entry, self.batches.predictor))
            except InputError as error:
                problems += error.problems
        for image, result in self.batches.results(read):
            lines[image.entry.image_id] = self.labels.write(image, self.batches.predictor, result, self.out)
        done = [lines[entry.image_id] for entry in entries if entry.image_id in lines]
        self.parts.write(task, {"lines": done, "problems": problems})
        return len(entries)


def label_images(
    model: str,
    model_uri: str,
    labels: FolderLabels,
    entries: Sequence[ImageEntry],
    out: str,
    workers: int,
    *,
    trust_exported: bool = False,
    more: dict[str, Any] | None = None,
) -> tuple[list[dict[str, Any]], list[str], list[dict[str, Any]], int]:
    """Label images with up to `workers` workers, one GPU each where the cluster has GPUs, else one CPU.

    Finished tasks are in `out`: after a kill the same call goes on with the rest. From the first map on there is no
    JSON in `out` until the caller has written it.

    Args:
        more: further arguments of `LabelWorker`.

    Returns:
        `image` and `annotation` of every image that could be read, in order; the problems of the others; the
        categories; and how many images this call has labelled.

    Raises:
        InputError: the model is damaged, or the cluster has no room for a worker.
    """
    connect()
    num_gpus = int(resources().get("GPU", 0) > 0)
    require({"CPU": 1.0, "GPU": float(num_gpus)}, "predict")
    parts = Parts(storage.join(out, PARTS, _key(model_uri, labels, entries)), verb="predict")
    tasks = range(-(-len(entries) // TASK_IMAGES))
    assignment = {
        "model": model,
        "model_uri": model_uri,
        "trust_exported": trust_exported,
        "labels": labels,
        "out": out,
        "parts": parts,
        "entries": list(entries),
        **(more or {}),
    }
    arguments = ray.put(assignment)
    actor = ray.remote(num_cpus=1, num_gpus=num_gpus)(LabelActor)
    num_new = 0
    with (
        Crew(lambda: actor.remote([arguments]), min(workers, len(tasks))) as crew,
        counted("predict", len(entries)) as advance,
    ):
        ((_, categories),) = crew.results([None], lambda worker, _: worker.call.remote("categories"))
        begin(out, parts)
        for _ in range(MAX_ROUNDS):
            waiting = _unfinished(parts, out, tasks)
            if not num_new and (finished := len(tasks) - len(waiting)):
                print(f"predict · {finished} of {len(tasks)} tasks are done already; going on", file=sys.stderr)
                advance(len(entries) - sum(_size(entries, task) for task in waiting))
            if not waiting:
                break
            for _, images in crew.results(waiting, lambda worker, task: worker.call.remote("label", task)):
                num_new += images
                advance(images)
        else:
            raise InputError(
                f"{PredictionsFolder(out).panoptic_uri}: maps are deleted while they are written; find out by whom"
            )
    contents = [parts.read(task) for task in tasks]
    lines = [line for content in contents for line in content["lines"]]
    return lines, [problem for content in contents for problem in content["problems"]], categories, num_new


class LabelActor:
    """A `LabelWorker` in an actor.

    Args:
        boxed: a list with Ray's reference to its arguments, which is fetched here and not before every call.
    """

    def __init__(self, boxed: list[Any]) -> None:
        arguments: Any = ray.get(boxed[0])
        self.worker = LabelWorker(**arguments)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the worker. What loading the model raises comes from here, as itself."""
        return getattr(self.worker, method)(*arguments)


def begin(out: str, parts: Parts) -> None:
    """Remove the JSON of an earlier labelling, which would stand beside other maps, and the parts of all others."""
    storage.delete(PredictionsFolder(out).document_uri)
    folder = storage.join(out, PARTS)
    for name in storage.list_folders(folder, follow_links=False):
        if (uri := storage.join(folder, name)) != parts.uri:
            storage.delete(uri)


def remove_parts(out: str) -> None:
    """Remove what kept a job resumable: its result is complete."""
    storage.delete(storage.join(out, PARTS))


def _unfinished(parts: Parts, out: str, tasks: range) -> list[int]:
    """Tasks without a part, with a damaged one, or with one whose maps are not all there."""
    maps = PredictionsFolder(out).panoptic_uri
    names = Listing(maps).names if storage.exists(maps) else set()
    unfinished = set(tasks) - parts.finished()
    for task in set(tasks) - unfinished:
        try:
            pngs = {line["annotation"]["file_name"] for line in parts.read(task)["lines"]}
        except (InputError, KeyError, TypeError):
            pngs = {""}
        if not pngs <= set(names):
            unfinished.add(task)
    return sorted(unfinished)


def _size(entries: Sequence[ImageEntry], task: int) -> int:
    return len(entries[task * TASK_IMAGES : (task + 1) * TASK_IMAGES])


def _key(model_uri: str, labels: FolderLabels, entries: Sequence[ImageEntry]) -> str:
    """Names the work: another model, other images or other pictures are other work."""
    wanted = (labels.folder, labels.max_pixels, labels.overlays, labels.attention)
    shown = labels.truth.panoptic_dir if labels.truth else ""
    return fingerprint(digest(model_uri), wanted, shown, [asdict(entry) for entry in entries], TASK_IMAGES)
