"""ASGI without a server: one request into an application, one answer out of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message

Answerer = Callable[[Request], Awaitable[Response]]


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes
    num_read: int
    """Bytes of the request's body that were asked for."""

    def json(self) -> Any:
        return json.loads(self.body)


def as_app(answer: Answerer) -> ASGIApp:
    """An application of a function that answers requests."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (await answer(Request(scope, receive)))(scope, receive, send)

    return app


async def asked(
    app: ASGIApp,
    method: str,
    path: str,
    chunks: Iterable[bytes] = (),
    *,
    length: str | None = None,
    accept: str = "*/*",
    seconds_per_chunk: float = 0.0,
) -> Answer:
    """The application's answer.

    Args:
        chunks: of the body; after the last comes the end of the connection.
        length: Content-Length; None: not announced.
    """
    headers = {"accept": accept} | ({} if length is None else {"content-length": length})
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    waiting, sent, num_read = list(chunks), [], 0
    is_ended = False

    async def receive() -> Message:
        nonlocal num_read, is_ended
        await asyncio.sleep(seconds_per_chunk)
        if is_ended:
            return {"type": "http.disconnect"}
        body = waiting.pop(0) if waiting else b""
        num_read += len(body)
        is_ended = not waiting
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1, sent
    body = b"".join(message.get("body", b"") for message in sent)
    named = {name.decode(): value.decode() for name, value in starts[0]["headers"]}
    return Answer(starts[0]["status"], named, body, num_read)
