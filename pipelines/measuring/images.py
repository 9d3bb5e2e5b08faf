"""Image files to be labelled: which there are, and their pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aunet.data.coco_panoptic import decode_image
from aunet.errors import InputError
from pipelines.store import storage

SUFFIXES = (".jpg", ".jpeg", ".png")


def image_names(images: str) -> list[str]:
    """Paths of the JPEG and PNG files below a folder's URI.

    Raises:
        InputError: there are none.
    """
    if not storage.exists(images):
        raise InputError(f"--images {images}: no such folder; give a folder of JPEG or PNG files")
    names = [file.path for file in storage.list_files(images) if file.path.lower().endswith(SUFFIXES)]
    if not names:
        raise InputError(f"--images {images}: no {', '.join(SUFFIXES)} files in it; give a folder of images")
    return names


def read_image(images: str, name: str) -> NDArray[np.uint8]:
    """uint8[H, W, 3] of one of these files.

    Raises:
        InputError: it is not an image.
    """
    return decode_image(storage.read_bytes(storage.join(images, name)))
