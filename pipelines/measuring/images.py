"""The image files to be labelled: which there are, and their pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aunet.data.coco_panoptic import decode_image
from aunet.data.pictures import MAX_PIXELS, PICTURE_ENDINGS
from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.listing import Listing


def image_files(images: str) -> tuple[str, list[str]]:
    """A folder's URI, and the paths of the JPEG and PNG files below it, but for companions that macOS adds.

    Args:
        images: URI of the folder, or of one file, which is the only one then.

    Raises:
        InputError: there are none.
    """
    if not storage.exists(images):
        raise InputError(f"--images {images}: no such file or folder; give a folder of JPEG or PNG files, or one file")
    try:
        names = sorted(name for name in Listing(images).names if name.lower().endswith(PICTURE_ENDINGS))
    except InputError:
        if not images.lower().endswith(PICTURE_ENDINGS):
            raise
        return storage.parent(storage.absolute(images)), [images.rpartition("/")[2]]
    if not names:
        raise InputError(f"--images {images}: no {', '.join(PICTURE_ENDINGS)} files in it; give a folder of images")
    return images, names


def read_image(images: str, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """uint8[H, W, 3] of one of these files.

    Raises:
        InputError: it is not an image, or has more than `max_pixels` pixels.
    """
    return decode_image(storage.read_bytes(storage.join(images, name)), max_pixels)
