"""Cityscapes as distributed: the images of a split and their annotations, found and paired by their names."""

from __future__ import annotations

from pathlib import PurePosixPath

from aunet.data.cityscapes import frame_of, image_id_of
from aunet.data.coco_json import ImageRecord
from aunet.data.defects import Defect
from aunet.errors import InputError
from pipelines.settings.run_config import SplitConfig
from pipelines.store import storage
from pipelines.store.listing import Listing

IMAGE = "leftImg8bit.png"
ANNOTATION = "instanceIds.png"


def find_images(config: SplitConfig, root: str) -> tuple[dict[int, ImageRecord], list[Defect]]:
    """The images of a split by image id, in the order of their paths, and what is wrong with the pairs.

    The sizes and segments of the records stay empty: the PNGs hold them.

    Raises:
        InputError: all problems of the split at once: a folder or a city that does not exist, two images of one name.
    """
    problems: list[str] = []
    images = _frames(config.images, IMAGE, config, root, problems)
    annotations = _frames(config.instance_ids, ANNOTATION, config, root, problems)
    if problems:
        raise InputError(problems)
    records: dict[int, ImageRecord] = {}
    for frame in images:
        image_id = image_id_of(PurePosixPath(frame).name)
        if image_id in records:
            both = f"{records[image_id].file_name} and {images[frame]}"
            problems.append(f"{storage.join(root, config.images)}: {both} have one name; every image needs its own")
        records[image_id] = ImageRecord(
            image_id=image_id,
            file_name=images[frame],
            height=0,
            width=0,
            panoptic_name=annotations.get(frame, ""),
            segments=(),
        )
    if problems:
        raise InputError(problems)
    defects = _without_partner("image-unannotated", images, annotations, config.instance_ids, ANNOTATION)
    defects += _without_partner("annotation-orphan", annotations, images, config.images, IMAGE)
    return records, defects


def _without_partner(
    rule: str, names: dict[str, str], partners: dict[str, str], folder: str, suffix: str
) -> list[Defect]:
    """A defect for every frame of `names` that `partners`, the files `*suffix` below `folder`, lack."""
    return [
        Defect(
            rule=rule,
            image=image_id_of(PurePosixPath(frame).name),
            message=f"{storage.join(folder, frame)}_*{suffix}: missing, the partner of {name}",
        )
        for frame, name in names.items()
        if frame not in partners
    ]


def _frames(folder: str, suffix: str, config: SplitConfig, root: str, problems: list[str]) -> dict[str, str]:
    """`<city>/<city>_<sequence>_<frame>` → path below `folder`, of the files with this suffix in the wanted cities."""
    try:
        names = sorted(name for name in Listing(storage.join(root, folder)).names if name.endswith(suffix))
    except InputError as error:
        problems += error.problems
        return {}
    cities = {name: PurePosixPath(name).parent.name for name in names}
    known = sorted(set(cities.values()))
    problems += [
        f"{storage.join(root, folder)}: no *_{suffix} of city {city!r}; there are {', '.join(known)}"
        for city in dict.fromkeys(config.cities)
        if city not in known
    ]
    return {frame_of(name): name for name in names if not config.cities or cities[name] in config.cities}
