"""The images of prepared data, to be labelled like those of a folder: read from its shards, under names of its own."""

from __future__ import annotations

from collections import Counter

from aunet.errors import InputError
from aunet.names import inner_path
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.store import storage
from pipelines.store.layout import PreparedFolder


class PreparedImages:
    """The images of all splits, by name: the split and the file's name, `val/street/1.jpg`.

    The name depends on nothing but the data: where two images of a split have one file name, or an earlier version
    wrote none, it is the image id. May be pickled into other processes.

    Args:
        uri: of the prepared data.

    Raises:
        InputError: the manifest or an index is damaged, or a file name leaves its folder.
    """

    def __init__(self, uri: str) -> None:
        self.readers = {split: ShardReader(uri, split) for split in Manifest.load(uri).splits}
        self.rows: dict[str, tuple[str, int]] = {}
        """Split and number of the row of every image, by its name."""
        self.image_ids: dict[str, int] = {}
        """The data set's ids by name, without those that several splits use."""
        for split, reader in self.readers.items():
            counts = Counter(reader.file_names)
            for row, (name, image_id) in enumerate(zip(reader.file_names, reader.image_ids, strict=True)):
                inner = name if name and counts[name] == 1 else str(image_id)
                self.rows[f"{split}/{_checked(inner, uri)}"] = split, row
                self.image_ids[f"{split}/{inner}"] = image_id
        used = Counter(self.image_ids.values())
        self.image_ids = {name: image_id for name, image_id in self.image_ids.items() if used[image_id] == 1}

    def content(self, name: str) -> bytes:
        """The image file of one of `rows`.

        Raises:
            InputError: its shard is missing or damaged.
        """
        split, row = self.rows[name]
        return self.readers[split].row(row)["image"]


def prepared_images(images: str) -> PreparedImages | None:
    """The images of prepared data; None: this is no URI of such.

    Raises:
        InputError: as for `PreparedImages`.
    """
    return PreparedImages(storage.absolute(images)) if storage.exists(PreparedFolder(images).manifest_uri) else None


def _checked(name: str, uri: str) -> str:
    try:
        return inner_path(name)
    except ValueError as error:
        raise InputError(f"{uri}: a file name {error}; run `preprocess` again") from None
