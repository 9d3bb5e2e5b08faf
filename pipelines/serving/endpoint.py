"""HTTP: `POST /panoptic` an image, `GET /model`, `GET /health`. Knows nothing of Ray."""

from __future__ import annotations

import asyncio
import base64
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aunet.data.coco_panoptic import encode_panoptic
from aunet.data.pictures import open_picture
from aunet.errors import InputError
from pipelines.serving.body_limit import BodyProblem, read_body
from pipelines.serving.labelling import LabelledImage
from pipelines.serving.settings import ServerSettings

PNG = "image/png"
MAX_FAILURES = 3
"""So many images in a row that could not be labelled make a replica unhealthy, as after an error of its GPU."""


class Endpoint:
    """Answers every request, at most `queue` images at a time.

    Args:
        label: labels an encoded image; raises InputError where it is not one.
        describe: facts about the model.
    """

    def __init__(
        self,
        settings: ServerSettings,
        label: Callable[[bytes], Awaitable[LabelledImage]],
        describe: Callable[[], dict[str, Any]],
    ) -> None:
        self.settings, self.label, self.describe = settings, label, describe
        self.num_accepted = 0
        """Images that wait or are worked on."""
        self.num_failures = 0
        """Images since the last one that was labelled which could not be, though they are images."""
        self.routes = {
            "/panoptic": ("POST", self._panoptic),
            "/model": ("GET", self._model),
            "/health": ("GET", self._health),
        }

    async def __call__(self, request: Request) -> Response:
        """The answer to a request; errors are JSON with `error`."""
        method, answer = self.routes.get(request.scope["path"], ("", None))
        if answer is None:
            return _problem(404, f"no such address; use {', '.join(f'{m} {p}' for p, (m, _) in self.routes.items())}")
        if request.method != method and not (request.method == "HEAD" and method == "GET"):
            return _problem(405, f"{request.method}: use {method}", {"allow": method})
        return await answer(request)

    def check_health(self) -> None:
        """Find out whether images are labelled here.

        Raises:
            RuntimeError: the last ones were not.
        """
        if self.num_failures >= MAX_FAILURES:
            text = f"{self.settings.model}: the last {self.num_failures} images could not be labelled"
            raise RuntimeError(f"{text}; see the errors above in this log, and start the process again")

    async def _health(self, _: Request) -> Response:
        facts = {"accepted": self.num_accepted, "queue": self.settings.queue}
        try:
            self.check_health()
        except RuntimeError as error:
            return JSONResponse({"status": "failing", **facts, "error": str(error)}, 503)
        return JSONResponse({"status": "ok", **facts})

    async def _model(self, _: Request) -> Response:
        return JSONResponse(self.describe())

    async def _panoptic(self, request: Request) -> Response:
        if self.num_accepted >= self.settings.queue:
            text = f"{self.num_accepted} images are waiting, as many as may (queue); send it again in a second"
            return _problem(429, text, {"retry-after": "1"})
        self.num_accepted += 1
        try:
            data = await read_body(request, self.settings.max_bytes, self.settings.body_seconds)
            await asyncio.to_thread(check_picture, data, self.settings.max_pixels)
            labelled = await self._labelled(data)
            return await asyncio.to_thread(_answer, labelled, request.headers.get("accept", ""))
        except BodyProblem as problem:
            return _problem(problem.status, problem.text)
        except InputError as error:
            return _problem(400, str(error))
        except Exception as error:  # noqa: BLE001 - an answer as any other; what went wrong belongs into the log
            print(f"serve · {self.settings.model} · a request failed", file=sys.stderr)
            traceback.print_exception(error)
            return _problem(500, f"{type(error).__name__}: not labelled; send it again, and see the server's log")
        finally:
            self.num_accepted -= 1

    async def _labelled(self, data: bytes) -> LabelledImage:
        """Label an image, and count the failures that are not its own."""
        try:
            labelled = await self.label(data)
        except InputError:
            raise
        except Exception:
            self.num_failures += 1
            raise
        self.num_failures = 0
        return labelled


def check_picture(data: bytes, max_pixels: int) -> None:
    """Look at the head of an encoded image, without decoding it.

    Raises:
        BodyProblem: it has more than `max_pixels` pixels.
        InputError: it is not a JPEG or PNG.
    """
    if not data:
        raise InputError("an empty body; send the bytes of a JPEG or PNG")
    picture, rule, text = open_picture(data, max_pixels)
    if rule == "bomb":
        raise BodyProblem(413, f"the picture has {text}; send a smaller one")
    if picture is None:
        raise InputError(f"{text}; send the bytes of a JPEG or PNG")


def _answer(labelled: LabelledImage, accept: str) -> Response:
    png = encode_panoptic(labelled.ids)
    if PNG in accept or "image/*" in accept:
        marks = {"x-model-version": labelled.model["version"], "x-model-sha256": labelled.model["sha256"]}
        return Response(png, media_type=PNG, headers={name: str(mark) for name, mark in marks.items() if mark})
    height, width = labelled.ids.shape
    return JSONResponse(
        {
            "height": height,
            "width": width,
            "segments_info": labelled.segments,
            "panoptic_png": base64.b64encode(png).decode(),
            "model": labelled.model,
        }
    )


def _problem(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers)
