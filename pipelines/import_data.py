"""`import-data`: a data set in the format that people have → one COCO panoptic folder, linted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape

from aunet.data.defects import Defect
from aunet.errors import InputError
from aunet.names import check_name, printable
from pipelines.data.importing.category_choice import CategoryChoice
from pipelines.data.importing.formats import SourceOptions, open_source
from pipelines.data.importing.parts import ImportSettings
from pipelines.data.importing.record import CHANGES, ImportItem
from pipelines.data.importing.run import import_split
from pipelines.data.importing.val_share import check_val_share, splits_of
from pipelines.data.importing.write_guards import check_apart, check_outside
from pipelines.lint.split import SplitUris, lint_split
from pipelines.store.artifacts import VerbResult
from pipelines.store.panoptic_folder import PanopticFolder

SHOWN_DEFECTS = 3
"""Of each rule, on stderr; the result has all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedData(VerbResult):
    """A COCO panoptic folder, and what it cost to make it from another format."""

    out: str
    images: int
    segments: int
    splits: dict[str, int]
    """Images per split."""
    changed: dict[str, int]
    """Rule → how often something was changed or left out."""
    categories: tuple[dict[str, Any], ...]
    defects: tuple[dict[str, Any], ...]
    """What was left out because of an error (rule `import`), then what lint-data finds in the result."""

    @property
    def exit_code(self) -> int:
        """2 where what was written has errors."""
        return 2 if any(d["severity"] == "error" for d in self.defects if d["rule"] != "import") else 0

    def to_json(self) -> dict[str, Any]:
        """The fields and the exit code."""
        return {**asdict(self), "exit_code": self.exit_code}


def import_data(
    format: str,
    out: str,
    data: str | None = None,
    images: str | None = None,
    annotations: str | None = None,
    instances: str | None = None,
    palette: str | None = None,
    stuff_json: str | None = None,
    pixel_maps: str | None = None,
    stuff_thing_maps: str | None = None,
    components: bool = False,
    categories: str | None = None,
    things: Sequence[str] | None = None,
    background: str | None = None,
    split: str = "train",
    val_share: float | None = None,
    on_top: Literal["later", "smaller"] | None = None,
    copy: bool = False,
    keep_void: bool = False,
    skip_broken: bool = False,
    workers: int | None = None,
) -> ImportedData:
    """Write one split, or with `val_share` two, into a COCO panoptic folder, and lint it.

    The source, from `data` to `components`, is as `SourceOptions` says; `categories`, `things` and `background` are as
    `CategoryChoice` says; `on_top`, `copy`, `keep_void` and `skip_broken` as `ImportSettings` says.

    Args:
        format: one of `pipelines.data.importing.formats.FORMATS`.
        out: folder or URI to write to; a second call adds another split.
        things: may also be labels separated by commas.
        split: name of the split.
        val_share: share of the images, 0 … 1, that become split `val`; the others become `train`.
        workers: processes; None: as many as there are CPUs.

    Raises:
        InputError: the source cannot be read, an image cannot be imported, `val_share` leaves a split empty, or `out`
            holds something else.
    """
    names = _checked(split, val_share, workers)
    for source in (data, images, annotations, instances, pixel_maps, stuff_thing_maps):
        if source is not None:
            check_outside(out, source)
    choice = CategoryChoice(file=categories, things=None if things is None else tuple(things), background=background)
    options = SourceOptions(
        data=data,
        images=images,
        annotations=annotations,
        instances=instances,
        palette=palette,
        stuff_json=stuff_json,
        pixel_maps=pixel_maps,
        stuff_thing_maps=stuff_thing_maps,
        components=components,
    )
    reader = open_source(format, options, choice, split)
    for name in names:
        check_apart(PanopticFolder(out, name), reader.folders)
    settings = ImportSettings(
        on_top=on_top,
        background=choice.background_of(reader.drawer.categories),
        copy=copy,
        keep_void=keep_void,
        skip_broken=skip_broken,
    )
    if val_share is not None:
        check_val_share(reader.items(), val_share, keep_void=keep_void, skip_broken=skip_broken)
    changed: Counter[str] = Counter()
    splits: dict[str, int] = {}
    defects: list[dict[str, Any]] = []
    segments = 0
    for name in names:

        def items(name: str = name) -> Iterable[ImportItem]:
            return reader.items() if val_share is None else splits_of(reader.items(), val_share, val=name == "val")

        folder = PanopticFolder(out, name)
        imported = import_split(reader.drawer, items, folder, settings, workers)
        splits[name], segments = imported.images, segments + imported.segments
        changed.update(imported.changed)
        defects += [_left_out(image, message) for image, message in imported.problems]
        defects += [defect.to_json() for defect in _lint(folder)]
    changed += reader.changed
    result = ImportedData(
        out=out,
        images=sum(splits.values()),
        segments=segments,
        splits=splits,
        changed={rule: changed[rule] for rule in CHANGES if changed[rule]},
        categories=tuple(reader.drawer.categories.to_json()),
        defects=tuple(defects),
    )
    _print(result)
    return result


def _checked(split: str, val_share: float | None, workers: int | None) -> tuple[str, ...]:
    """The names of the splits.

    Raises:
        InputError: an option has a value that cannot be used.
    """
    check_name("--split", split)
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers} is below 1; leave it out to use every CPU")
    if val_share is None:
        return (split,)
    if not 0 < val_share < 1:
        raise InputError(f"--val-share {val_share} is not between 0 and 1; 0.2 puts every fifth image into val")
    if split != "train":
        raise InputError(f"--split {split} and --val-share: the splits are called train and val; give one of the two")
    return ("train", "val")


def _left_out(image: str, message: str) -> dict[str, Any]:
    cure = "correct the source, delete the folder and import again"
    return {
        "rule": "import",
        "severity": "error",
        "image": image,
        "segment": None,
        "message": message,
        "cure": cure,
    }


def _lint(folder: PanopticFolder) -> list[Defect]:
    uris = SplitUris(images=folder.images_uri, panoptic_json=folder.json_uri, panoptic_dir=folder.maps_uri)
    return lint_split(uris).defects


def _print(result: ImportedData) -> None:
    """What was changed and what is wrong, on stderr."""
    console = Console(stderr=True)

    def line(text: str) -> None:
        console.print(escape(printable(text)), highlight=False, soft_wrap=True)

    for rule, number in result.changed.items():
        line(f"  {number:>9} {rule}: {CHANGES[rule]}")
    by_rule: dict[str, list[dict[str, Any]]] = {}
    for defect in result.defects:
        by_rule.setdefault(defect["rule"], []).append(defect)
    for rule, defects in by_rule.items():
        line(f"{defects[0]['severity']} {rule}, {len(defects)} times: {defects[0]['cure']}")
        for defect in defects[:SHOWN_DEFECTS]:
            line(f"  {defect['message']}")
    splits = ", ".join(f"{number} in {name}" for name, number in result.splits.items())
    line(f"{result.images} images ({splits}), {result.segments} segments in {result.out}")
