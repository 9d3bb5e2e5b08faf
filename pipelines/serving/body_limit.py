"""Bodies that are too large or too slow, refused before they are held in memory.

Ray's HTTP proxy would hold a whole body before a replica has looked at it. `middlewares` puts the same limit before the
proxy: Ray calls it where RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CALLBACK, CALLBACK_PATH = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "pipelines.serving.body_limit.middlewares"
"""Ray's variable, and its value."""
MAX_BODY_BYTES = "AUNET_SERVE_MAX_BYTES"
"""Variable with the limit of the proxies."""


class BodyProblem(Exception):
    """A body that is not accepted, with the HTTP status that says so."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def too_large(max_bytes: int) -> BodyProblem:
    """A body of more than `max_bytes`."""
    return BodyProblem(413, f"the body has more than {max_bytes} bytes; send a smaller file")


def check_length(headers: Mapping[str, str], max_bytes: int) -> None:
    """Refuse a body by its announced length.

    Raises:
        BodyProblem: it is over `max_bytes`, or is no number.
    """
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BodyProblem(400, f"Content-Length = {length!r:.40}: not a number; send the length of the body in bytes")
    if len(length) > 19 or int(length) > max_bytes:
        raise too_large(max_bytes)


async def read_body(request: Request, max_bytes: int, seconds: float) -> bytes:
    """The whole body of a request.

    Raises:
        BodyProblem: it is larger than `max_bytes`, needs longer than `seconds`, or the client has gone.
    """
    check_length(request.headers, max_bytes)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise too_large(max_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise BodyProblem(408, f"the body did not arrive within {seconds:g} s; send it again") from None
    except ClientDisconnect:
        raise BodyProblem(400, "the connection ended before the body was complete; send it again") from None
    return b"".join(chunks)


class BodyLimit:
    """ASGI middleware: answers 413 where a body is larger than a limit, and lets no more than that through."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, as far as its body is accepted."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size, is_over, is_answered = 0, False, False

        async def receive_limited() -> Message:
            nonlocal size, is_over
            message = await receive()
            size += len(message.get("body", b""))
            is_over |= size > self.max_bytes
            return {"type": "http.disconnect"} if is_over else message

        async def send_unless_over(message: Message) -> None:
            nonlocal is_answered
            if not is_over or is_answered:
                is_answered = True
                await send(message)

        try:
            check_length(Request(scope).headers, self.max_bytes)
            await self.app(scope, receive_limited, send_unless_over)
            problem = too_large(self.max_bytes) if is_over else None
        except BodyProblem as refused:
            problem = refused
        if problem and not is_answered:
            await JSONResponse({"error": problem.text}, problem.status)(scope, receive, send)


def middlewares() -> list[Middleware]:
    """What Ray's proxies put before everything, by the limit in their environment."""
    limit = os.environ.get(MAX_BODY_BYTES, "")
    return [Middleware(BodyLimit, max_bytes=int(limit))] if limit.isdigit() else []


def proxy_environment(max_bytes: int) -> dict[str, str]:
    """Variables by which Ray's proxies refuse larger bodies."""
    return {CALLBACK: CALLBACK_PATH, MAX_BODY_BYTES: str(max_bytes)}
