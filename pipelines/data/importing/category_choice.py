"""Which categories an import has, and which of them are things: from a file, or from names and --things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from aunet.categories import Categories, Category
from aunet.documents import read_json
from aunet.errors import InputError
from aunet.names import printable
from pipelines.store import storage

ALL, NONE = "all", "none"
SHOWN_LABELS = 40
"""Labels named where the command line must say which of them are things."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryChoice:
    """What the command line says of the categories."""

    file: str | None = None
    """JSON list of categories, or any panoptic JSON; None: the labels of the format, all of them."""
    things: tuple[str, ...] | None = None
    """Labels of the things, separated by commas where a word is not itself a label, or "all" or "none" alone; None: the
    format or the file says it."""
    background: str | None = None
    """Stuff that every pixel without annotation belongs to; None: such pixels are void."""

    def from_file(self) -> Categories | None:
        """The categories of the file, None without one.

        Raises:
            InputError: it is not a list of categories with names, or the background is not among its stuff.
        """
        if self.file is None:
            return None
        if self.things is not None:
            raise InputError("--things and --categories: the file says which are things; give one of the two")
        categories = read_categories_file(self.file)
        self.background_of(categories)
        return categories

    def of_labels(self, labels: Iterable[str], source_name: str) -> Categories:
        """Categories for the labels of a format that knows names alone; ids are 1, 2, … in the order of `labels`.

        Raises:
            InputError: `things` is missing or names something else; the message has the labels.
        """
        names = list(dict.fromkeys(labels))
        if not names:
            raise InputError(f"{source_name}: no label; annotate something, or correct the path")
        shown = ", ".join(map(printable, names[:SHOWN_LABELS])) + (", …" if len(names) > SHOWN_LABELS else "")
        if self.things is None:
            raise InputError(
                f"{source_name}: which labels are things, counted one by one? The others are stuff. Give "
                f"--things {names[0]} or several, --things {ALL} or --things {NONE}; there are {shown}"
            )
        is_all, is_none = self.things == (ALL,) and ALL not in names, self.things == (NONE,) and NONE not in names
        given = {n for word in self.things for n in ([word] if word in names else word.split(",")) if n}
        things = set(names) if is_all else set() if is_none else given
        if unknown := sorted(things - set(names)):
            raise InputError(
                f"--things {printable(name)}: not a label of {source_name}; it has {shown}" for name in unknown
            )
        entries = [Category(id=n, name=name, is_thing=name in things) for n, name in enumerate(names, start=1)]
        return self.with_background(Categories(tuple(entries)))

    def with_background(self, categories: Categories) -> Categories:
        """`categories`, and the background as one more where its name is not among them.

        Raises:
            InputError: it is a thing.
        """
        if self.background is not None and self.background not in categories.by_name:
            free = max(categories.by_id) + 1
            added = Category(id=free, name=self.background, is_thing=False)
            return Categories((*categories.entries, added))
        self.background_of(categories)
        return categories

    def chosen(self, categories: Categories) -> Categories:
        """The categories of a format that has all of them, with what the command line changes.

        Raises:
            InputError: `things` names something else, or the background is a thing.
        """
        if (listed := self.from_file()) is not None:
            return listed
        if self.things is not None:
            of_labels = replace(self, background=None).of_labels((c.name for c in categories.entries), "the categories")
            entries = (replace(c, is_thing=of_labels.by_name[c.name].is_thing) for c in categories.entries)
            categories = Categories(tuple(entries))
        return self.with_background(categories)

    def background_of(self, categories: Categories) -> int | None:
        """Category id of the background, None without one.

        Raises:
            InputError: it is not among the stuff.
        """
        if self.background is None:
            return None
        category = categories.by_name.get(self.background)
        if category is None or category.is_thing:
            names = ", ".join(c.name for c in categories.stuff) or "none"
            raise InputError(f"--background {printable(self.background)}: not one of the stuff, which is {names}")
        return category.id


def read_categories_file(uri: str) -> Categories:
    """The categories of a JSON: a list of objects with `name` and `isthing`, or an object with such a list.

    Entries without `id` are numbered 1, 2, … in the order of the file.

    Raises:
        InputError: no such file, or every entry that lacks something.
    """
    document = read_json(storage.read_bytes(uri), uri)
    entries = document.get("categories") if isinstance(document, Mapping) else document
    if not isinstance(entries, list) or not entries:
        raise InputError(f'{uri}: not a list of categories; write [{{"name": "road", "isthing": 0}}, …]')
    numbered = [{"id": n, **e} if isinstance(e, Mapping) else e for n, e in enumerate(entries, start=1)]
    categories = Categories.from_json(numbered, uri)
    if repeated := sorted({c.name for c in categories.entries if categories.by_name[c.name] is not c}):
        raise InputError(f"{uri}: two categories are called {name}; give each a name of its own" for name in repeated)
    return categories
