"""The deployment of Ray Serve: replicas with a model each, behind Ray's HTTP proxies."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from ray.serve.config import BackpressureConfig
from starlette.requests import Request
from starlette.responses import Response

from pipelines.serving.current_model import CurrentModel
from pipelines.serving.endpoint import Endpoint
from pipelines.serving.labelling import LabelledImage, LabelledOrError, label_all
from pipelines.serving.settings import ServerSettings

NAME = "panoptic"
"""Of the application."""
DRAIN_SECONDS = 60.0
"""How long a replica that is taken away may work on what it has accepted."""
SPARE = 64
"""Requests besides those of a full queue that reach a replica, to be refused or to ask for its health."""


class Labeller:
    """One replica.

    Args:
        plain: `ServerSettings` as JSON values.
    """

    def __init__(self, plain: dict[str, Any]) -> None:
        self.settings = ServerSettings.from_plain(plain)
        self.current = CurrentModel(self.settings.model, trust_exported=self.settings.trust_exported)
        self.current.follow(self.settings.reload_seconds)
        self.endpoint = Endpoint(self.settings, self.label, self.current.describe)
        batches: Any = self.label_batch
        batches.set_max_batch_size(self.settings.batch)
        batches.set_batch_wait_timeout_s(self.settings.batch_wait_ms / 1000)

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        return await self.endpoint(request)

    async def check_health(self) -> None:
        """Asked by Ray Serve, which replaces a replica that fails this several times in a row.

        Raises:
            RuntimeError: the last images could not be labelled.
        """
        self.endpoint.check_health()

    async def label(self, data: bytes) -> LabelledImage:
        """Label an encoded image, in one batch with others that wait.

        Raises:
            InputError: it is not an image.
        """
        outcome: Any = await self.label_batch(data)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @serve.batch
    async def label_batch(self, pictures: list[bytes]) -> list[LabelledOrError]:
        """Label a batch in a thread, so that requests are answered meanwhile."""
        loaded = self.current.loaded
        return await asyncio.to_thread(label_all, loaded.predictor, pictures, self.settings.max_pixels, loaded.facts)


def application(arguments: dict[str, Any]) -> serve.Application:
    """What Ray Serve runs.

    Args:
        arguments: `ServerSettings` as JSON values.

    Raises:
        InputError: one of them is wrong.
    """
    settings = ServerSettings.from_plain(arguments)
    deployment = serve.deployment(
        name=NAME,
        num_replicas=settings.replicas,
        max_ongoing_requests=settings.queue + SPARE,
        max_queued_requests=settings.queue * settings.replicas,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
    )
    return deployment(Labeller).bind(settings.to_plain())
