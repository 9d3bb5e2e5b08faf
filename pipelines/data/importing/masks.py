"""Semantic masks, with instance masks or without: by value or by colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from aunet.categories import Categories
from aunet.data.cityscapes import image_id_of
from aunet.data.pictures import PICTURE_ENDINGS
from aunet.errors import InputError
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.palette import PaletteEntry, categories_of, read_palette, table_of
from pipelines.data.importing.record import Drawing, ImportItem, Size, Uppermost
from pipelines.data.importing.value_maps import ValueTable, open_mask, read_values, regions_of
from pipelines.store import storage
from pipelines.store.listing import Listing

SEPARATORS = "_-."
"""Before what a mask's name has more than its image's, as in `0001TP_006690_L.png`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskDrawer:
    """Draws a semantic mask, and the instance mask of the same image."""

    semantic_uri: str
    """Folder of the semantic masks."""
    instances_uri: str | None
    """Folder of the instance masks."""
    table: ValueTable
    categories: Categories
    no_instance: tuple[int, ...] = (0,)
    """Values of the instance masks that are not objects."""
    components: bool = False
    on_top: Uppermost = "later"
    upright: bool = False

    def draw(self, item: ImportItem, size: Size) -> Drawing:
        """The regions of the masks of one image."""
        semantic_name, instance_name = item.entries
        uri = storage.join(self.semantic_uri, semantic_name)
        semantic = read_values(uri, is_color=self.table.is_color)
        instances = None
        if instance_name is not None:
            instance_uri = storage.join(self.instances_uri or "", instance_name)
            instances = read_values(instance_uri)
            if instances.shape != semantic.shape:
                sizes = f"{instances.shape[1]}×{instances.shape[0]} and {semantic.shape[1]}×{semantic.shape[0]}"
                raise InputError(f"{instance_uri} and {uri}: {sizes}; export both masks of an image in one size")
            for value in self.no_instance:
                instances[instances == value] = 0
        drawn = regions_of(semantic, instances, self.table, self.categories, components=self.components)
        height, width = semantic.shape
        return Drawing(size=(width, height), base=drawn.base, base_regions=drawn.regions, changed=drawn.changed)


class Masks:
    """Images and their masks, paired by name.

    Args:
        images_uri: folder of the images.
        drawer: of the masks.
        chosen: images without endings, if only some belong to the split.

    Raises:
        InputError: no such folder, or things without instances.
    """

    def __init__(self, images_uri: str, drawer: MaskDrawer, chosen: Collection[str] | None = None) -> None:
        self.uri, self.drawer, self.changed = images_uri, drawer, Counter[str]()
        self.images, self.semantic = Listing(images_uri), Listing(drawer.semantic_uri)
        self.instances = None if drawer.instances_uri is None else Listing(drawer.instances_uri)
        read = (images_uri, drawer.semantic_uri, drawer.instances_uri)
        self.folders = tuple(uri for uri in read if uri is not None)
        self.chosen = chosen
        if self.instances is None and not drawer.components and (things := drawer.categories.things):
            names = ", ".join(c.name for c in things[:5]) + (", …" if len(things) > 5 else "")
            raise InputError(
                f"{drawer.semantic_uri}: {names} are things, but nothing says where one ends and the next begins; give "
                "instance masks, or --components for one object each connected area, or --things none"
            )

    def items(self) -> Iterator[ImportItem]:
        """Every image of the folder, by name."""
        names = sorted(name for name in self.images.names if name.lower().endswith(PICTURE_ENDINGS))
        semantic = paired(names, self.semantic.names)
        instances = paired(names, () if self.instances is None else self.instances.names)
        if self.chosen is not None:
            names = [name for name in names if stem_of(name) in self.chosen]
            for stem in sorted(set(self.chosen) - {stem_of(name) for name in names}):
                problem = f"{stem!r:.120}: in the list of the split, but missing in {self.uri}; add the image"
                yield ImportItem(image_uri=self.uri, file_name=stem, image_id=image_id_of(stem), problem=problem)
        self.changed = Counter(
            {} if self.chosen is not None else {"annotations-orphan": _orphans(semantic, self.semantic)}
        )
        for name in names:
            mask, instance = semantic.get(name), instances.get(name)
            problem = ""
            if mask is not None and instance is None and self.instances is not None:
                problem = f"{name}: missing in {self.instances.uri}, but {mask} exists; add its instance mask"
            files = [self.images.files[name], *([] if mask is None else [self.semantic.files[mask]])]
            files += [self.instances.files[instance]] if instance is not None and self.instances is not None else []
            yield ImportItem(
                image_uri=storage.join(self.uri, name),
                file_name=name,
                image_id=image_id_of(name),
                entries=None if mask is None else [mask, instance],
                sources=tuple(files),
                problem=problem,
            )


def stem_of(name: str) -> str:
    """A file's path without its ending."""
    return str(PurePosixPath(name).with_suffix(""))


def paired(names: Collection[str], masks: Collection[str]) -> dict[str, str]:
    """Image → its mask: the PNG of the same path, or one whose name goes on after `_`, `-` or `.`, the shortest."""
    owners = {stem_of(name): name for name in names}
    masks_of: dict[str, str] = {}
    for mask in sorted((m for m in masks if m.lower().endswith(".png")), key=lambda m: (len(m), m)):
        stem = stem_of(mask)
        while stem and stem not in owners:
            cut = max(stem.rfind(separator) for separator in SEPARATORS)
            stem = stem[:cut] if cut > stem.rfind("/") else ""
        if stem:
            masks_of.setdefault(owners[stem], mask)
    return masks_of


def _orphans(masks_of: Mapping[str, str], listing: Listing) -> int:
    used = set(masks_of.values())
    return sum(name.lower().endswith(".png") and name not in used for name in listing.names)


def open_masks(
    images: str,
    semantic: str,
    choice: CategoryChoice,
    *,
    instances: str | None = None,
    palette: str | None = None,
    components: bool = False,
) -> Masks:
    """Semantic masks with a palette, or with a file of categories whose ids or colours are those of the masks.

    Raises:
        InputError: neither is given, or the folders and files do not fit.
    """
    source = palette or choice.file
    if source is None:
        raise InputError("import-data masks: --palette or --categories is missing; it says what the values mean")
    entries = read_palette(source)
    categories = categories_of(entries, choice, source)
    drawer = MaskDrawer(
        semantic_uri=semantic,
        instances_uri=instances,
        table=table_of(entries, categories, source, is_color=has_colors(semantic, entries)),
        categories=categories,
        components=components,
    )
    return Masks(images, drawer)


def has_colors(semantic_uri: str, entries: list[PaletteEntry]) -> bool:
    """Whether masks hold colours: the palette has nothing else, or the first mask is an RGB picture."""
    if any(entry.value is None for entry in entries):
        return True
    first = min((n for n in Listing(semantic_uri).names if n.lower().endswith(".png")), default=None)
    if first is None:
        raise InputError(f"{semantic_uri}: no PNG; name the folder of the semantic masks")
    return open_mask(storage.join(semantic_uri, first)).mode in ("RGB", "RGBA")
