"""Two folders compared: the same counts whatever the threads and the reader, few maps at a time, and without torch."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aunet.data.coco_panoptic import decode_panoptic
from aunet.errors import InputError
from aunet.evaluation.overlap import Overlap
from aunet.evaluation.panoptic_quality import PanopticQuality
from aunet.segments import Segment
from aunet_ops import segment_maps
from pipelines.measuring.annotated_folders import PairedFolders
from pipelines.measuring.folders import CHUNK, count_folders, digests, score_folders
from tests.commands import ROOT
from tests.pipelines.score_folders import MAPS, Folder, annotation


def random_maps(seed: int, count: int) -> dict[int, list[list[int]]]:
    """Maps of segments whose ids end in the id of a category, 1, 5 or 9, in blocks with some noise."""
    rng = np.random.default_rng(seed)
    maps = {}
    for number in range(count):
        ids = np.array([0, *(10 * rng.integers(1, 90_000, 6) + rng.choice([1, 5, 9], 6))])
        label = rng.integers(0, 7, (6, 6)).repeat(4, 0).repeat(4, 1)
        label[rng.random(label.shape) < 0.05] = 0
        maps[number] = ids[label].tolist()
    return maps


def damaged(maps: dict[int, list[list[int]]], seed: int) -> dict[int, list[list[int]]]:
    """The same maps, shifted, with holes, two segments merged and one of another category."""
    rng = np.random.default_rng(seed)
    result = {}
    for number, rows in maps.items():
        ids = np.roll(np.array(rows), rng.integers(-2, 3, 2), (0, 1))
        used = np.unique(ids[ids > 0])
        if rng.random() < 0.5:
            ids[ids == used[0]] = used[-1]
        if rng.random() < 0.5:
            ids[ids == used[-1]] = used[-1] // 10 * 10 + int(rng.choice([1, 5, 9]))
        ids[rng.random(ids.shape) < 0.03] = 0
        result[number] = ids.tolist()
    return result


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Folder, Folder]:
    maps = random_maps(0, 5 * CHUNK + 3)
    true, predicted = Folder(tmp_path / "true", maps), Folder(tmp_path / "predicted", damaged(maps, 1))
    rng = np.random.default_rng(2)
    for entry in true.content["annotations"]:
        for segment in entry["segments_info"]:
            segment["iscrowd"] = int(segment["category_id"] != 9 and rng.random() < 0.1)
    true.save()
    return true, predicted


def paired(true: Folder, predicted: Folder) -> PairedFolders:
    return PairedFolders.read(true.json, true.dir, predicted.json, predicted.dir)


def one_by_one(true: Folder, predicted: Folder) -> PanopticQuality:
    """Each pair decoded and counted in memory."""
    quality = PanopticQuality(paired(true, predicted).categories)

    def of(folder: Folder, number: int) -> tuple[np.ndarray, list[Segment]]:
        entry = folder.content["annotations"][number]
        segments = [
            Segment(s["id"], s["category_id"], s["category_id"] != 9, 0, is_crowd=bool(s["iscrowd"]))
            for s in entry["segments_info"]
        ]
        return decode_panoptic((folder.dir / entry["file_name"]).read_bytes()), segments

    for number in range(len(true.content["annotations"])):
        quality.update(*of(predicted, number), *of(true, number))
    return quality


def counts(quality: PanopticQuality) -> list[Any]:
    return [quality.iou.tolist(), quality.tp.tolist(), quality.fp.tolist(), quality.fn.tolist()]


def test_the_same_bits_whatever_the_threads_and_the_numbers_of_single_images(folders: tuple[Folder, Folder]) -> None:
    results = [counts(count_folders(paired(*folders), workers)) for workers in (1, 2, 5, None)]
    assert results[0] == results[1] == results[2] == results[3]
    expected = counts(one_by_one(*folders))
    assert results[0][1:] == expected[1:] and results[0][0] == pytest.approx(expected[0], abs=1e-12)
    assert 10 < sum(expected[1]) and 10 < sum(expected[2])


def test_outcomes_have_the_same_quality(folders: tuple[Folder, Folder]) -> None:
    result = score_folders(*[p for f in folders for p in (f.json, f.dir)], workers=2)
    assert result.quality.metrics() == pytest.approx(count_folders(paired(*folders)).compute().metrics(), abs=1e-9)
    assert result.outcomes.images.tolist() == list(range(5 * CHUNK + 3))


def test_images_with_texts_as_ids_are_numbered_as_in_the_ground_truth(tmp_path: Path) -> None:
    true, predicted = Folder(tmp_path / "true", MAPS), Folder(tmp_path / "predicted", MAPS)
    for folder, order in ((true, 1), (predicted, -1)):
        for entry in folder.content["annotations"]:
            entry["image_id"] = f"frame_{entry['image_id']}"
        folder.content["annotations"] = folder.content["annotations"][::order]
        folder.save()
    outcomes = score_folders(true.json, true.dir, predicted.json, predicted.dir).outcomes
    assert outcomes.images.tolist() == [0, 1] and 29 in outcomes.segment_id[outcomes.image_id == 0]


def test_what_the_compiled_reader_does_not_read_is_counted_all_the_same(
    folders: tuple[Folder, Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = counts(count_folders(paired(*folders)))
    for path in sorted(folders[1].dir.iterdir())[:5]:
        Image.open(path).convert("RGBA").save(path)
    assert counts(count_folders(paired(*folders))) == expected
    monkeypatch.setattr(segment_maps, "find_library", lambda kind: (None, {}))
    segment_maps._library.cache_clear()
    try:
        assert not segment_maps.reader_status().compiled
        assert counts(count_folders(paired(*folders))) == expected
    finally:
        segment_maps._library.cache_clear()


def test_problems_come_in_the_end_with_all_others(folders: tuple[Folder, Folder]) -> None:
    true, predicted = folders
    (predicted.dir / "0.png").write_bytes(b"no")
    data = bytearray((predicted.dir / "20.png").read_bytes())
    data[data.index(b"IDAT") + 9] ^= 4
    (predicted.dir / "20.png").write_bytes(bytes(data))
    annotation(predicted, 3)["segments_info"].pop()
    predicted.save()
    seen = []

    def count(overlaps: Sequence[tuple[int, Overlap]]) -> None:
        seen.extend(number for number, _ in overlaps)

    with pytest.raises(InputError) as error:
        list(digests(paired(true, predicted), count, 2))
    assert [p.split(" (")[0] for p in error.value.problems] == ["image 0", "image 3", "image 20"]
    assert "20.png: cannot be decoded" in error.value.problems[2]
    assert sorted(seen) == [n for n in range(5 * CHUNK + 3) if n not in (0, 3, 20)]


def test_few_maps_are_in_memory_at_a_time(folders: tuple[Folder, Folder]) -> None:
    """However slowly the results are used: no more than are asked for ahead."""
    begun: list[int] = []
    lock = threading.Lock()

    def begin(overlaps: Sequence[tuple[int, Overlap]]) -> int:
        with lock:
            begun.append(len(overlaps))
        return len(overlaps)

    results = digests(paired(*folders), begin, 1)
    next(results)
    assert len(begun) <= 3
    assert sum(results) + CHUNK == 5 * CHUNK + 3


def test_scoring_starts_without_what_it_does_not_need() -> None:
    heavy = ["torch", "ray", "rich", "pyarrow", "mlflow"]
    code = f"import sys, json, pipelines.score; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
