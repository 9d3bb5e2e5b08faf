"""Which data a run uses: a folder in one of the known formats, or generated scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from aunet.errors import InputError, check
from aunet.ranges import Range, Seed, check_ranges
from pipelines.settings.job_config import Number

Side = Annotated[int, Range(at_least=64, at_most=16_384)]
"""Pixels of a generated scene."""
ImageId = Annotated[int, Range(at_least=0, below=2**63)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapesConfig:
    """Generated scenes, written to the store as a COCO panoptic folder and read back like any other."""

    num_train: Number = 512
    num_val: Number = 64
    height: Side = 128
    width: Side = 160
    seed: Seed = 0
    kind: Literal["landscape", "ambiguous"] = "landscape"
    """`ambiguous`: two of the kinds of stuff look the same, and only the things on them tell which is which."""

    def __post_init__(self) -> None:
        check_ranges(self, "data.shapes")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitConfig:
    """One split, in COCO panoptic format or of Cityscapes as distributed. Paths are relative to `data.root`."""

    images: str
    """Folder of the images."""
    panoptic_json: str = ""
    panoptic_dir: str = ""
    """Folder of the panoptic PNGs."""
    instances_json: str | None = None
    """If given, the things' boxes and (overlapping) masks come from it."""
    instance_ids: str = ""
    """Folder of Cityscapes' `*_instanceIds.png`, instead of `panoptic_json` and `panoptic_dir`."""
    cities: tuple[str, ...] = ()
    """With `instance_ids`: use only the folders of these cities; empty: all."""
    image_ids: tuple[ImageId, ...] = ()
    """Use only these images; empty: all."""

    @property
    def annotations(self) -> str:
        """Folder of the PNGs that annotate the images."""
        return self.instance_ids or self.panoptic_dir

    def problems(self, field: str) -> list[str]:
        """Contradictory or missing settings of this split, one message each; `field` names the split."""
        coco = self.panoptic_json, self.panoptic_dir
        if self.instance_ids and (any(coco) or self.instances_json):
            return [f"{field}.instance_ids = {self.instance_ids!r}: give this or the files in COCO format, not both"]
        if not self.instance_ids and not all(coco):
            return [f"{field}.panoptic_json, panoptic_dir = {coco!r}: give both, or instance_ids for Cityscapes"]
        if self.cities and not self.instance_ids:
            return [f"{field}.cities = {self.cities!r}: only Cityscapes has cities; give instance_ids or drop them"]
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the raw data is and how it is cut into shards."""

    root: str = ""
    """Folder or object-store URI to which the splits' paths are relative. Not used with `shapes`."""
    train: SplitConfig = SplitConfig(
        images="train2017",
        panoptic_json="annotations/panoptic_train2017.json",
        panoptic_dir="annotations/panoptic_train2017",
    )
    val: SplitConfig = SplitConfig(
        images="val2017",
        panoptic_json="annotations/panoptic_val2017.json",
        panoptic_dir="annotations/panoptic_val2017",
    )
    shapes: ShapesConfig | None = None
    """Generate the data instead of reading `root`."""
    rows_per_shard: Number = 256
    """Most images in a shard; most shards hold between half of this and all of it, those of large images fewer."""
    max_bad_fraction: Annotated[float, Range(at_least=0, below=1)] = 0.0
    """Largest share of a split's images that may be left out because they are defective."""

    def __post_init__(self) -> None:
        check_ranges(self, "data")
        check_ranges(self.train, "data.train")
        check_ranges(self.val, "data.val")
        check(bool(self.root) or self.shapes is not None, "data.root", self.root, "name the folder of the raw data")
        if problems := [*self.train.problems("data.train"), *self.val.problems("data.val")]:
            raise InputError(problems)
