"""An application of Ray Serve for as long as a block runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ray import serve

from aunet.errors import Unavailable
from pipelines.serving.deployment import NAME, application
from pipelines.serving.settings import ServerSettings


@contextmanager
def served(settings: ServerSettings, host: str, port: int) -> Iterator[None]:
    """Answer requests while the block runs; when it ends, those that were accepted are answered first.

    Ray must run. Where its Serve runs already, its own address stays, and so do its other applications.

    Raises:
        Unavailable: the replicas do not start, with the reason.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
    try:
        serve.run(application(settings.to_plain()), name=NAME)
    except RuntimeError as error:
        serve.delete(NAME)
        raise Unavailable(f"serve: the replicas do not start: {error}; see `ray status` and the log of Ray") from None
    try:
        yield
    finally:
        serve.delete(NAME)
