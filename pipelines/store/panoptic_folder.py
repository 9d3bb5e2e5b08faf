"""One split of raw data in COCO panoptic format, as `import-data` writes it and the presets read it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipelines.store import folder, storage
from pipelines.store.storage import join


@dataclass(frozen=True, slots=True)
class PanopticFolder:
    """The files of one split: the JSON is written last and says that the others are complete."""

    uri: str
    split: str

    @property
    def images_uri(self) -> str:
        """Folder of the images."""
        return join(self.uri, self.split)

    @property
    def annotations_uri(self) -> str:
        """Folder of the JSON files of all splits."""
        return join(self.uri, "annotations")

    @property
    def json_name(self) -> str:
        """File name of the panoptic JSON."""
        return f"panoptic_{self.split}.json"

    @property
    def json_uri(self) -> str:
        """The panoptic JSON."""
        return join(self.annotations_uri, self.json_name)

    @property
    def maps_uri(self) -> str:
        """Folder of the PNGs."""
        return join(self.annotations_uri, f"panoptic_{self.split}")

    @property
    def parts_uri(self) -> str:
        """Folder of what is finished of an import that is not; removed at its end."""
        return join(self.annotations_uri, f".import_{self.split}")

    def remove_temporary_files(self) -> None:
        """Remove what a killed process left half written. A bucket shows whole objects only."""
        if storage.is_remote(self.uri):
            return
        for uri in (self.images_uri, self.maps_uri, self.annotations_uri):
            for parent, folders, names in os.walk(folder.to_path(uri)):
                for name in filter(folder.is_temporary, names):
                    Path(parent, name).unlink(missing_ok=True)
                if uri == self.annotations_uri:
                    folders.clear()  # those of other splits, which may be written now


def put_file(source_uri: str, target_uri: str, data: bytes, *, copy: bool) -> None:
    """Give a file a second name: a hard link where both are on one file system, a copy elsewhere. It appears whole.

    Args:
        data: its content.
        copy: always a copy.
    """
    if not copy and not storage.is_remote(source_uri) and not storage.is_remote(target_uri):
        source, target = folder.to_path(source_uri).resolve(), folder.to_path(target_uri)
        try:
            with folder.beside(target) as temporary:
                os.link(source, temporary)
                os.replace(temporary, target)  # does nothing where both are the same file already
            return
        except OSError:
            pass
    storage.write_bytes(target_uri, data)
