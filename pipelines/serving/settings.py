"""What a server of a model may be asked for, and how much of it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from aunet.config_json import from_json, to_json
from aunet.data.pictures import MAX_PIXELS
from aunet.ranges import AtLeastOne, Range, check_ranges

Seconds = Annotated[float, Range(above=0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """A model, and the limits of its server. All of them are per replica."""

    model: str
    """`models:/name@alias`, `models:/name/version`, or the URI of a model folder or a run."""
    replicas: AtLeastOne = 1
    """Processes with a copy of the model each."""
    cpus: AtLeastOne = 1
    """CPUs of each."""
    gpus: Annotated[float, Range(at_least=0)] = 0.0
    """GPUs of each; less than 1: several replicas share one."""
    batch: AtLeastOne = 8
    """Images of one pass through the network at most."""
    batch_wait_ms: Annotated[float, Range(at_least=0)] = 5.0
    """How long the first image of a batch waits for others."""
    queue: AtLeastOne = 64
    """Requests that may wait or be worked on; the next one is answered with 429."""
    max_bytes: AtLeastOne = 32 * 2**20
    """Of an encoded image; larger ones are answered with 413."""
    max_pixels: AtLeastOne = MAX_PIXELS
    """Of an image; larger ones are answered with 413 and never decoded."""
    body_seconds: Seconds = 30.0
    """How long an image may take to arrive; then 408."""
    reload_seconds: Seconds = 30.0
    """Between two looks at where the alias points to."""
    trust_exported: bool = False
    """Also load a program that `export` wrote, which is code."""

    def __post_init__(self) -> None:
        check_ranges(self, "serve")

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> ServerSettings:
        """The settings from JSON values.

        Raises:
            InputError: a value has another type or is out of range, or there is no such setting.
        """
        return from_json(cls, plain, "serve")

    def to_plain(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return to_json(self)
