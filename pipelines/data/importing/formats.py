"""The formats by name: what each needs from the command line, and the reader that opens it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aunet.errors import InputError
from pipelines.data.importing.ade20k import open_ade20k
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.coco import Coco, PixelMaps
from pipelines.data.importing.cvat import Cvat
from pipelines.data.importing.labelme import LabelMe
from pipelines.data.importing.masks import open_masks
from pipelines.data.importing.panoptic_json import PanopticNames
from pipelines.data.importing.record import Reader
from pipelines.data.importing.vistas import open_vistas
from pipelines.data.importing.voc import open_voc


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """Where the source is. Which of these a format has, `FORMATS` says."""

    data: str | None = None
    """Root folder of the data set."""
    images: str | None = None
    """Folder of the images."""
    annotations: str | None = None
    """File or folder of the annotations."""
    instances: str | None = None
    """Folder of instance masks."""
    palette: str | None = None
    """File of colours or values and their categories."""
    stuff_json: str | None = None
    """COCO-Stuff as JSON."""
    pixel_maps: str | None = None
    """COCO-Stuff as PNGs of category ids."""
    stuff_thing_maps: str | None = None
    """COCO-Stuff as PNGs of category ids less one."""
    components: bool = False
    """Whether connected areas of a thing are objects."""


@dataclass(frozen=True, slots=True)
class SourceFormat:
    """One format."""

    open: Callable[[SourceOptions, CategoryChoice, str], Reader]
    """Of its options, the categories and the name of the split."""
    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


def _coco(options: SourceOptions, choice: CategoryChoice, split: str) -> Reader:
    given = [
        (uri, offset) for uri, offset in ((options.pixel_maps, 0), (options.stuff_thing_maps, 1)) if uri is not None
    ]
    if len(given) > 1:
        raise InputError("--pixel-maps and --stuff-thing-maps: the same areas twice; give one of the two")
    maps = PixelMaps(uri=given[0][0], offset=given[0][1]) if given else None
    images, annotations = str(options.images), str(options.annotations)
    return Coco(images, annotations, choice, stuff_uri=options.stuff_json, maps=maps, palette=options.palette)


def _masks(options: SourceOptions, choice: CategoryChoice, split: str) -> Reader:
    return open_masks(
        str(options.images),
        str(options.annotations),
        choice,
        instances=options.instances,
        palette=options.palette,
        components=options.components,
    )


def _labelme(options: SourceOptions, choice: CategoryChoice, split: str) -> Reader:
    return LabelMe(str(options.data), choice)


def _cvat(options: SourceOptions, choice: CategoryChoice, split: str) -> Reader:
    if options.data is not None and options.annotations is None:
        return open_voc(options.data, choice, split, images=options.images, components=options.components, upright=True)
    if options.annotations is None or options.images is None or options.data is not None or options.components:
        raise InputError(
            "import-data cvat: give --images and --annotations annotations.xml (CVAT for images 1.1), or --data, the "
            "folder with labelmap.txt (segmentation mask 1.1); COCO 1.0 is format coco"
        )
    return Cvat(options.images, options.annotations, choice)


def _voc(options: SourceOptions, choice: CategoryChoice, split: str) -> Reader:
    return open_voc(str(options.data), choice, split, images=options.images, components=options.components)


def _mapillary(options: SourceOptions, choice: CategoryChoice, split: str) -> Reader:
    return open_vistas(str(options.data), choice, split)


def _ade20k(options: SourceOptions, choice: CategoryChoice, split: str) -> Reader:
    return open_ade20k(str(options.data), choice, split)


def _cityscapes(options: SourceOptions, choice: CategoryChoice, split: str) -> Reader:
    return PanopticNames(str(options.images), str(options.annotations), choice)


FORMATS = {
    "coco": SourceFormat(_coco, ("images", "annotations"), ("stuff_json", "pixel_maps", "stuff_thing_maps", "palette")),
    "masks": SourceFormat(_masks, ("images", "annotations"), ("instances", "palette", "components")),
    "labelme": SourceFormat(_labelme, ("data",)),
    "cvat": SourceFormat(_cvat, (), ("images", "annotations", "data", "components")),
    "voc": SourceFormat(_voc, ("data",), ("images", "components")),
    "mapillary": SourceFormat(_mapillary, ("data",)),
    "ade20k": SourceFormat(_ade20k, ("data",)),
    "cityscapes": SourceFormat(_cityscapes, ("images", "annotations")),
}


def open_source(name: str, options: SourceOptions, choice: CategoryChoice, split: str) -> Reader:
    """The reader of a data set.

    Raises:
        InputError: an option is missing or not one of this format, or the source cannot be read.
    """
    if name not in FORMATS:
        raise InputError(f"format {name!r:.60}: unknown; there are {', '.join(FORMATS)}")
    chosen = FORMATS[name]
    defaults = SourceOptions()
    given = [n for n in SourceOptions.__dataclass_fields__ if getattr(options, n) != getattr(defaults, n)]
    spelled = {n: f"--{n.replace('_', '-')}" for n in SourceOptions.__dataclass_fields__}
    problems = [f"import-data {name}: {spelled[n]} is missing" for n in chosen.needed if n not in given]
    known = " ".join(spelled[n] for n in (*chosen.needed, *chosen.optional))
    problems += [
        f"import-data {name}: {spelled[n]} is not for this format, which has {known}"
        for n in given
        if n not in (*chosen.needed, *chosen.optional)
    ]
    if problems:
        raise InputError(problems)
    return chosen.open(options, choice, split)
