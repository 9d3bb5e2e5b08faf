"""How long a server may take to answer: one that accepts and is silent would block for ever."""

from __future__ import annotations

from typing import Any

from urllib3 import Retry

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
"""In which an answer begins, and in which it goes on."""


def limits() -> tuple[float, float]:
    """For connecting and for reading."""
    return CONNECT_SECONDS, READ_SECONDS


def limit(api_client: Any) -> None:
    """Give every request of a generated client an end, that of Kubernetes and that of Kubeflow: neither has a default.

    What was silent once is not asked again by the library, which would do so three times more.
    """
    rest = api_client.rest_client
    rest.pool_manager.connection_pool_kw["retries"] = Retry(3, read=0)
    ask = rest.request

    def request(*args: Any, _request_timeout: Any = None, **options: Any) -> Any:
        return ask(*args, _request_timeout=_request_timeout or limits(), **options)

    rest.request = request
