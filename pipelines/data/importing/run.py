"""An import as a whole: tasks spread over processes, resumed where they stopped, joined into one panoptic JSON."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import chain, islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from aunet.config_json import from_json
from aunet.errors import InputError
from pipelines.data.importing.parts import ImportSettings, ImportTask, import_images, tasks_of, unique_items
from pipelines.data.importing.record import CHANGES, Drawer, ImportItem
from pipelines.data.importing.write_guards import claim
from pipelines.data.json_stream import stream_json
from pipelines.runtime.progress import counted
from pipelines.store import storage
from pipelines.store.panoptic_folder import PanopticFolder
from pipelines.store.parts import Parts

SHOWN_PROBLEMS = 20
"""Problems printed one by one; the import ends after so many."""
VERB = "import-data"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSplit:
    """What a finished import wrote, and what of."""

    key: str
    """32 hex digits over the source's annotations and images and the settings."""
    images: int
    segments: int
    changed: dict[str, int]
    """Rule → how often; the rules are `CHANGES`."""
    problems: tuple[tuple[str, str], ...]
    """(image, message) of those left out because of an error."""


def import_split(
    drawer: Drawer,
    items: Callable[[], Iterable[ImportItem]],
    folder: PanopticFolder,
    settings: ImportSettings,
    workers: int | None = None,
) -> ImportedSplit:
    """Write one split; what an earlier call with the same inputs has finished is not done again.

    Args:
        items: gives the items of the split, all of them at every call.
        workers: processes; None: as many as there are CPUs.

    Raises:
        InputError: images cannot be imported, all of them or the first twenty; or the folder holds something else.
    """

    def tasks() -> Iterator[ImportTask]:
        return tasks_of(unique_items(items()), drawer, folder, settings)

    parts = Parts(folder.parts_uri, VERB)
    if (finished := _finished_before(folder, tasks)) is not None:
        _clean(folder, parts)
        return finished
    claim(folder)
    keys: list[str] = []
    problems: list[str] = []
    with counted(VERB, None) as advance:
        for task, result in _results(tasks(), parts, workers or os.cpu_count() or 1):
            keys.append(task.key)
            advance(len(task.items))
            if result["problems"] and not settings.skip_broken:
                problems += [problem for _, problem in result["problems"]]
            if len(problems) >= SHOWN_PROBLEMS:
                break
            if not result["problems"] or settings.skip_broken:
                parts.write(task.number, result)
    if problems:
        raise InputError([*problems[:SHOWN_PROBLEMS], _advice(len(problems))])
    imported = _summary(parts, keys)
    if not imported.images:
        counts = ", ".join(f"{number} {rule}" for rule, number in imported.changed.items()) or "no image in the source"
        raise InputError(f"{folder.json_uri}: nothing to import ({counts}); correct the paths or annotate images")
    _join(parts, len(keys), drawer, folder, imported)
    _clean(folder, parts)
    return imported


def _clean(folder: PanopticFolder, parts: Parts) -> None:
    """Remove what only an unfinished import needs, and what killed ones left."""
    folder.remove_temporary_files()
    parts.delete()


def _advice(num_problems: int) -> str:
    number = "1 problem" if num_problems == 1 else f"{num_problems} problems"
    more = " or more" if num_problems >= SHOWN_PROBLEMS else ""
    return (
        f"{VERB}: {number}{more}, nothing is complete yet; correct the source and run the same again, which goes on "
        "from here, or leave these images out with --skip-broken"
    )


def _key(task_keys: Iterable[str]) -> str:
    return hashlib.sha256("".join(task_keys).encode()).hexdigest()[:32]


def _finished_before(folder: PanopticFolder, tasks: Callable[[], Iterator[ImportTask]]) -> ImportedSplit | None:
    """What the panoptic JSON says of the import that wrote it; None where there is no such file.

    Raises:
        InputError: it is of other inputs, or something else wrote it.
    """
    if not storage.exists(folder.json_uri):
        return None
    cure = "delete it with its images and maps, or give another --out or --split"
    info = dict(islice(stream_json(folder.json_uri, values=("info",)), 1)).get("info")
    if not isinstance(info, dict) or not isinstance(info.get("import"), dict):
        raise InputError(f"{folder.json_uri}: exists, and {VERB} did not write it; {cure}")
    imported: ImportedSplit = from_json(ImportedSplit, info["import"], f"{folder.json_uri}: info.import")
    if imported.key != _key(task.key for task in tasks()):
        raise InputError(f"{folder.json_uri}: exists, of another source or other options; {cure}")
    return imported


def _results(tasks: Iterator[ImportTask], parts: Parts, workers: int) -> Iterator[tuple[ImportTask, dict[str, Any]]]:
    """Every task and its result, in order; those of an earlier call are read."""
    finished = parts.finished()
    first = list(islice(tasks, 2))
    tasks = chain(first, tasks)
    if workers == 1 or len(first) < 2:
        for task in tasks:
            yield task, _earlier(parts, task, finished) or import_images(task)
        return
    context = multiprocessing.get_context("forkserver")
    waiting: deque[tuple[ImportTask, dict[str, Any] | Future[dict[str, Any]]]] = deque()
    with ProcessPoolExecutor(workers, context, _end_with_parent) as pool:
        try:
            for task in tasks:
                waiting.append((task, _earlier(parts, task, finished) or pool.submit(import_images, task)))
                while len(waiting) > 2 * workers:
                    yield _done(waiting.popleft())
            while waiting:
                yield _done(waiting.popleft())
        except BrokenProcessPool:
            cure = "run the same again, which goes on from here, with fewer --workers"
            raise InputError(f"{VERB}: a process was ended from outside, perhaps for lack of memory; {cure}") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _done(
    pair: tuple[ImportTask, dict[str, Any] | Future[dict[str, Any]]],
) -> tuple[ImportTask, dict[str, Any]]:
    task, result = pair
    return task, result.result() if isinstance(result, Future) else result


def _earlier(parts: Parts, task: ImportTask, finished: set[int]) -> dict[str, Any] | None:
    """The result that an earlier call has written; None where there is none of these inputs."""
    if task.number not in finished:
        return None
    try:
        result = parts.read(task.number)
    except InputError:
        return None
    return result if result.get("key") == task.key else None


def _end_with_parent() -> None:
    """In a worker: end when the process that started it is gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def _summary(parts: Parts, keys: list[str]) -> ImportedSplit:
    changed: Counter[str] = Counter()
    problems: list[tuple[str, str]] = []
    images = segments = 0
    for number in range(len(keys)):
        result = parts.read(number)
        changed.update(result["changed"])
        problems += [(name, problem) for name, problem in result["problems"]]
        images += len(result["images"])
        segments += sum(len(entry["segments_info"]) for entry in result["annotations"])
    changed["images-broken"] = len({name for name, _ in problems})
    return ImportedSplit(
        key=_key(keys),
        images=images,
        segments=segments,
        changed={rule: changed[rule] for rule in CHANGES if changed[rule]},
        problems=tuple(problems),
    )


def _join(parts: Parts, number: int, drawer: Drawer, folder: PanopticFolder, imported: ImportedSplit) -> None:
    """Write the panoptic JSON; one part is held at a time."""
    info = {"description": f"imported by {VERB}", "import": asdict(imported)}
    with tempfile.TemporaryDirectory() as scratch:
        with open(Path(scratch, folder.json_name), "w", encoding="utf-8") as file:
            file.write(f'{{"info": {json.dumps(info)},\n"categories": {json.dumps(drawer.categories.to_json())}')
            for key in ("images", "annotations"):
                file.write(f',\n"{key}": [')
                separator = "\n"
                for n in range(number):
                    for entry in parts.read(n)[key]:
                        file.write(f"{separator}{json.dumps(entry)}")
                        separator = ",\n"
                file.write("]")
            file.write("}\n")
        storage.upload_folder(Path(scratch), folder.annotations_uri)
