"""The limit before Ray's proxy, which would hold a whole body otherwise."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from pipelines.serving.body_limit import BodyLimit, middlewares, proxy_environment
from tests.pipelines.serving.http import Answer, as_app, asked


class Proxy:
    """Reads all that comes before it answers, as Ray's does."""

    def __init__(self) -> None:
        self.num_bytes = 0

    async def __call__(self, request: Request) -> Response:
        async for chunk in request.stream():
            self.num_bytes += len(chunk)
        return Response(b"done")


def ask(proxy: Proxy, *chunks: bytes, **more: Any) -> Answer:
    return asyncio.run(asked(BodyLimit(as_app(proxy), 100), "POST", "/panoptic", chunks, **more))


def test_a_body_within_the_limit_passes() -> None:
    proxy = Proxy()
    assert ask(proxy, bytes(60), bytes(40), length="100").body == b"done" and proxy.num_bytes == 100


@pytest.mark.parametrize("length", ["101", "9" * 30])
def test_an_announced_length_is_enough(length: str) -> None:
    proxy = Proxy()
    answer = ask(proxy, bytes(101), length=length)
    assert (answer.status, answer.num_read, proxy.num_bytes) == (413, 0, 0)
    assert "more than 100 bytes" in answer.json()["error"]


@pytest.mark.parametrize("length", ["-1", "many", "1 0", "٣"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    answer = asyncio.run(asked(BodyLimit(as_app(Proxy()), 100), "POST", "/", [b""], length=length))
    assert answer.status == 400


def test_an_endless_body_is_cut() -> None:
    proxy = Proxy()

    async def answers(request: Request) -> Response:
        try:
            return await proxy(request)
        except Exception:
            return Response(status_code=500)

    answer = asyncio.run(asked(BodyLimit(as_app(answers), 100), "POST", "/panoptic", [bytes(60)] * 1000))
    assert (answer.status, answer.num_read, proxy.num_bytes) == (413, 120, 60)


def test_the_proxies_read_the_limit_from_their_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert middlewares() == []
    for name, value in proxy_environment(5).items():
        monkeypatch.setenv(name, value)
    (middleware,) = middlewares()
    assert middleware.cls is BodyLimit and middleware.kwargs == {"max_bytes": 5}
