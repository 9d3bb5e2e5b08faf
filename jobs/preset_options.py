"""The options of `new-preset` and `preview`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.options import Options, PresetOptions, operand
from pipelines.presets import SHIPPED


@dataclass(frozen=True, kw_only=True)
class NewPresetOptions(Options):
    """A name, and the data that the preset is for."""

    name: str = operand()
    """What the preset is called: small letters, digits and underscores."""
    data: str
    """Folder or URI in COCO panoptic format, as import-data writes it."""
    gpus: int = 0
    """GPUs that train; 0: CPUs."""

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "taken": SHIPPED}


@dataclass(frozen=True, kw_only=True)
class PreviewOptions(PresetOptions):
    """A preset, and where its page is written."""

    out: str | None = None
    """HTML file or URI; if omitted, PRESET-preview.html in this folder."""
    samples: int = 12
    """Training samples that are drawn, at most 48."""
