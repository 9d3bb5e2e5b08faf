"""A served model, from `serve` in a process of its own to the last answer: limits, promotion, drain."""

from __future__ import annotations

import base64
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from aunet.data.coco_panoptic import decode_panoptic
from pipelines.measuring.models import load_predictor
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import move_alias
from tests.serving import noise, register, serving, write_model

QUEUE, MAX_BYTES = 6, 100_000
IMAGES = [noise(64, 96, seed) for seed in range(4)]


def test_a_model_is_served_and_promoted_without_losing_a_request(mlflow_store: Path, tmp_path: Path) -> None:
    run = tracking.start_run("serving", {})
    folders = [write_model(tmp_path / f"model{seed}", seed) for seed in range(2)]
    versions = [register(folder, "tiny", run) for folder in folders]
    move_alias("tiny", "champion", versions[0])
    expected = [
        [predictor([image])[0].panoptic.ids.numpy() for image in IMAGES]
        for predictor in map(load_predictor, map(str, folders))
    ]
    options = ["--model", "models:/tiny@champion", "--queue", str(QUEUE), "--max-bytes", str(MAX_BYTES)]
    with serving(mlflow_store, tmp_path, *options, "--reload-seconds", "0.5") as server:
        model = requests.get(f"{server.address}/model", timeout=30).json()
        assert (model["name"], model["version"], model["problem"]) == ("tiny", 1, None)
        assert {category["name"] for category in model["categories"]} == {"disk", "sky", "star", "grass"}
        assert requests.get(f"{server.address}/health", timeout=30).json()["status"] == "ok"

        def ask(number: int) -> tuple[int, int]:
            """Status, and the version whose map came back."""
            data = IMAGES[number % len(IMAGES)]
            answer = requests.post(f"{server.address}/panoptic", data=data, timeout=60)
            if answer.status_code != 200:
                return answer.status_code, 0
            document = answer.json()
            version = document["model"]["version"]
            ids = decode_panoptic(base64.b64decode(document["panoptic_png"]))
            own, other = (
                (ids == maps[number % len(IMAGES)]).mean() for maps in (expected[version - 1], expected[2 - version])
            )
            assert own > 0.95 > other, (version, own, other)  # not 1: several threads round otherwise than one
            return 200, version

        for body in (bytes(MAX_BYTES + 1), _chunks(bytes(1000), 3 * MAX_BYTES // 1000)):
            assert requests.post(f"{server.address}/panoptic", data=body, timeout=30).status_code == 413
        assert requests.post(f"{server.address}/panoptic", data=b"hello", timeout=30).status_code == 400
        with ThreadPoolExecutor(4 * QUEUE) as pool:
            flooded = Counter(status for status, _ in pool.map(ask, range(4 * QUEUE)))
        assert flooded.keys() == {200, 429} and flooded[200] >= QUEUE

        answers: list[tuple[int, int]] = []
        is_over = threading.Event()

        def keep_asking(number: int) -> None:
            while not is_over.is_set():
                if (answer := ask(number)) != (429, 0):  # of a full queue: asked again, not lost
                    answers.append(answer)

        with ThreadPoolExecutor(4) as pool:
            busy = [pool.submit(keep_asking, number) for number in range(4)]
            _until(lambda: len(answers) > 8)
            move_alias("tiny", "champion", versions[1])
            _until(lambda: (200, 2) in answers)
            _until(lambda: answers[-1] == (200, 2))
            is_over.set()
            assert [future.result() for future in busy] == [None] * 4
        assert set(answers) == {(200, 1), (200, 2)}

        with ThreadPoolExecutor(QUEUE) as pool:
            last = [pool.submit(ask, number) for number in range(QUEUE)]
            _until(lambda: requests.get(f"{server.address}/health", timeout=30).json()["accepted"] > 0, 0.0)
            result = server.end()
            assert {future.result() for future in last} == {(200, 2)}
        assert result["model"] == "models:/tiny@champion" and result["seconds"] > 0
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{server.address}/health", timeout=5)


def _chunks(chunk: bytes, number: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(number):
        yield chunk


def _until(condition: Any, pause: float = 0.02) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(pause)
