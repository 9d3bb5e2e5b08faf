"""The options of the verb that imports a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobs.options import Options, operand

FORMATS = ("coco", "masks", "labelme", "cvat", "voc", "mapillary", "ade20k", "cityscapes")


@dataclass(frozen=True, kw_only=True)
class ImportDataOptions(Options):
    """A format, where the data are, and how they become one panoptic map per image."""

    format: str = operand()
    """Format: coco, masks, labelme, cvat, voc, mapillary, ade20k or cityscapes."""
    out: str
    """Folder or URI of the COCO panoptic data set; another split may be in it already."""
    data: str | None = None
    """Root folder of the data set: labelme, cvat (mask export), voc, mapillary, ade20k."""
    images: str | None = None
    """Folder of the images: coco, masks, cvat (XML), cityscapes."""
    annotations: str | None = None
    """Annotations: a JSON file (coco, cityscapes), an XML file (cvat) or a folder of masks (masks)."""
    instances: str | None = None
    """masks: folder of instance masks, a value or colour for each object."""
    palette: str | None = None
    """masks: file with the name and the value or colour of each category, JSON or text."""
    stuff_json: str | None = None
    """coco: COCO-Stuff as JSON, such as stuff_train2017.json."""
    pixel_maps: str | None = None
    """coco: folder of COCO-Stuff's pixel maps, whose values are category ids."""
    stuff_thing_maps: str | None = None
    """coco: folder of COCO-Stuff's stuffthingmaps, whose values are category ids less one."""
    components: bool = False
    """masks, voc: without instance masks, each connected area of a thing is one object."""
    categories: str | None = None
    """JSON list of categories with name and isthing, or the panoptic JSON of another split; others are left out."""
    things: tuple[str, ...] | None = None
    """Names of the labels that are things, separated by commas; "all" or "none"."""
    background: str | None = None
    """Name of the stuff that pixels without annotation belong to; if omitted, they are void."""
    split: str = "train"
    """Name of the split; it is also the folder of its images."""
    val_share: float | None = None
    """Share of the images that become val instead of train, chosen by their names."""
    on_top: Literal["later", "smaller"] | None = None
    """Which of two overlapping objects hides the other; by default smaller for coco, later for the others."""
    copy: bool = False
    """Copy the images; otherwise they are hard links where the file system allows it."""
    keep_void: bool = False
    """Keep images of which no pixel is annotated; otherwise they are left out and counted."""
    skip_broken: bool = False
    """Leave out images that cannot be imported and list them; otherwise they end the import."""
    workers: int | None = None
    """Processes; by default as many as there are CPUs."""
