"""What Ray sends to the workers of an evaluation. Whoever receives it imports this file, and nothing that is heavy."""

from __future__ import annotations

from typing import Any


def measure_share(
    settings: dict[str, Any], model_uri: str, prepared_uri: str, indices: list[int], shown: list[int]
) -> Any:
    """Run `share.measure_share`, imported in the worker: the driver needs no network."""
    from pipelines.measuring import share

    return share.measure_share(settings, model_uri, prepared_uri, indices, shown)


def combine_shares(*shares: Any) -> dict[str, Any]:
    """Run `share.combine_shares` in a worker."""
    from pipelines.measuring import share

    return share.combine_shares(*shares)
