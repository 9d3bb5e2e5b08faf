"""Every answer of the server that needs neither a network nor Ray."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
import pytest

from aunet.data.coco_panoptic import decode_panoptic
from aunet.errors import InputError
from pipelines.serving.endpoint import MAX_FAILURES, Endpoint
from pipelines.serving.labelling import LabelledImage
from pipelines.serving.settings import ServerSettings
from tests.cityscapes import png
from tests.pipelines.serving.http import Answer, as_app, asked

MODEL = {"model": "models:/shapes@champion", "name": "shapes", "version": 3, "sha256": "ab" * 32}
IDS = np.array([[0, 7], [70000, 7]], np.int32)
SEGMENTS = [{"id": 7, "category_id": 3, "area": 2}, {"id": 70000, "category_id": 5, "area": 1}]
IMAGE = png(np.zeros((2, 2, 3), np.uint8))


class Labels:
    """A stand-in for the network that says when it works, and waits to be told to go on."""

    def __init__(self) -> None:
        self.pictures: list[bytes] = []
        self.may_finish = asyncio.Event()
        self.may_finish.set()

    async def __call__(self, data: bytes) -> LabelledImage:
        self.pictures.append(data)
        await self.may_finish.wait()
        return LabelledImage(IDS, SEGMENTS, MODEL)


def endpoint(labels: Labels | None = None, **changes: Any) -> Endpoint:
    return Endpoint(ServerSettings(model="m", **changes), labels or Labels(), lambda: {**MODEL, "problem": None})


def ask(app: Endpoint, *request: Any, **more: Any) -> Answer:
    return asyncio.run(asked(as_app(app), *request, **more))


def test_an_image_becomes_json_with_its_map() -> None:
    answer = ask(endpoint(), "POST", "/panoptic", [IMAGE[:20], IMAGE[20:]])
    document = answer.json()
    assert answer.status == 200 and document["segments_info"] == SEGMENTS and document["model"] == MODEL
    assert (document["height"], document["width"]) == (2, 2)
    assert (decode_panoptic(base64.b64decode(document["panoptic_png"])) == IDS).all()


def test_an_image_becomes_a_png_where_one_is_asked_for() -> None:
    answer = ask(endpoint(), "POST", "/panoptic", [IMAGE], accept="image/png")
    assert answer.headers["content-type"] == "image/png" and (decode_panoptic(answer.body) == IDS).all()
    assert (answer.headers["x-model-version"], answer.headers["x-model-sha256"]) == ("3", MODEL["sha256"])


def test_the_model_and_its_health_are_told() -> None:
    app = endpoint(queue=5)
    assert ask(app, "GET", "/model").json() == {**MODEL, "problem": None}
    assert ask(app, "GET", "/health").json() == {"status": "ok", "accepted": 0, "queue": 5}


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "use POST /panoptic, GET /model, GET /health"),
        ("POST", "/predict", 404, "no such address"),
        ("GET", "/panoptic", 405, "GET: use POST"),
        ("DELETE", "/model", 405, "DELETE: use GET"),
    ],
)
def test_other_addresses_are_answered_with_those_that_exist(method: str, path: str, status: int, message: str) -> None:
    answer = ask(endpoint(), method, path)
    assert answer.status == status and message in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "an empty body"),
        (b"<html>hello", 400, "a web page"),
        (b"GIF89a" + bytes(20), 400, "a GIF file"),
        (IMAGE[:30], 400, "cut off"),
        (bytes(101), 413, "more than 100 bytes"),
        (png(np.zeros((5, 5, 3), np.uint8)), 413, "5×5 = 25 pixels, over the limit of 16"),
    ],
    ids=["empty", "page", "gif", "cut", "large", "many pixels"],
)
def test_what_is_no_image_is_refused_before_it_is_labelled(body: bytes, status: int, message: str) -> None:
    labels = Labels()
    answer = ask(endpoint(labels, max_bytes=100, max_pixels=16), "POST", "/panoptic", [body])
    assert answer.status == status and message in answer.json()["error"] and labels.pictures == []


def test_a_body_that_is_announced_as_too_large_is_not_read() -> None:
    answer = ask(endpoint(max_bytes=100), "POST", "/panoptic", [bytes(101)], length="101")
    assert (answer.status, answer.num_read) == (413, 0)


def test_a_body_that_never_ends_is_given_up() -> None:
    answer = ask(endpoint(max_bytes=100), "POST", "/panoptic", [bytes(60)] * 1000)
    assert (answer.status, answer.num_read) == (413, 120)


def test_a_slow_body_is_given_up() -> None:
    app = endpoint(body_seconds=0.05)
    answer = ask(app, "POST", "/panoptic", [b"\x89"] * 100, seconds_per_chunk=0.02)
    assert answer.status == 408 and "0.05 s" in answer.json()["error"] and app.num_accepted == 0


def test_a_full_queue_refuses_and_then_accepts_again() -> None:
    async def run() -> None:
        labels = Labels()
        labels.may_finish.clear()
        app = endpoint(labels, queue=2)
        accepted = [asyncio.create_task(asked(as_app(app), "POST", "/panoptic", [IMAGE])) for _ in range(2)]
        while len(labels.pictures) < 2:
            await asyncio.sleep(0.001)
        refused = await asyncio.wait_for(asked(as_app(app), "POST", "/panoptic", [IMAGE]), 20)
        assert (refused.status, refused.headers["retry-after"], refused.num_read) == (429, "1", 0)
        assert (await asked(as_app(app), "GET", "/health")).json()["accepted"] == 2
        labels.may_finish.set()
        assert [answer.status for answer in await asyncio.gather(*accepted)] == [200, 200]
        assert (await asked(as_app(app), "POST", "/panoptic", [IMAGE])).status == 200 and app.num_accepted == 0

    asyncio.run(run())


def test_a_failure_gives_its_room_in_the_queue_back() -> None:
    async def broken(_: bytes) -> LabelledImage:
        raise RuntimeError("broken")

    app = Endpoint(ServerSettings(model="m"), broken, dict)
    assert ask(app, "POST", "/panoptic", [IMAGE]).status == 500
    assert app.num_accepted == 0


def test_a_failure_is_answered_as_json_and_logged(capsys: pytest.CaptureFixture[str]) -> None:
    async def broken(_: bytes) -> LabelledImage:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    answer = ask(Endpoint(ServerSettings(model="m"), broken, dict), "POST", "/panoptic", [IMAGE])
    assert answer.status == 500 and answer.json()["error"].startswith("RuntimeError: not labelled; send it again")
    log = capsys.readouterr().err
    assert log.count("Traceback") == 1 and "in broken" in log and "illegal memory access" in log


def test_failures_in_a_row_are_no_health_until_an_image_is_labelled() -> None:
    problem: Exception | None = RuntimeError("CUDA error")

    async def label(_: bytes) -> LabelledImage:
        if problem:
            raise problem
        return LabelledImage(IDS, SEGMENTS, MODEL)

    app = Endpoint(ServerSettings(model="m"), label, dict)

    def health_after(number: int) -> int:
        for _ in range(number):
            ask(app, "POST", "/panoptic", [IMAGE])
        return ask(app, "GET", "/health").status

    assert (health_after(MAX_FAILURES - 1), health_after(1)) == (200, 503)
    answer = ask(app, "GET", "/health").json()
    assert answer["status"] == "failing" and "the last 3 images could not be labelled" in answer["error"]
    with pytest.raises(RuntimeError, match="the last 3 images"):
        app.check_health()
    problem = InputError("not an image")  # which says nothing of the network
    assert health_after(1) == 503
    problem = None
    assert health_after(1) == 200
    problem = InputError("not an image")
    assert health_after(MAX_FAILURES) == 200
