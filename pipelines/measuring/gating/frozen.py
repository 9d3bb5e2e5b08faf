"""The images that models are compared on: are they still what they were, and was a model trained on them?"""

from __future__ import annotations

from aunet.data.leakage import find_leaks
from aunet.errors import InputError
from pipelines.data.manifest import Manifest
from pipelines.data.sample_plan import spread
from pipelines.data.shards import ShardReader

MAX_NAMED = 20
"""Frozen images that a message names."""
NUM_GOLDEN = 3
"""Frozen images on which a model is tried."""


def check_frozen(prepared_uri: str, validation: str) -> None:
    """Read every row of a validation split and compare it with its hash, and all of them with the split's fingerprint.

    Raises:
        InputError: it is not the split of that fingerprint, or an image or an annotation was changed.
    """
    actual = Manifest.load(prepared_uri).split_fingerprint("val")
    if actual != validation:
        raise InputError(
            f"{prepared_uri}: its validation images are {actual}, not the frozen set {validation}; restore it, or "
            "evaluate both models on the same data"
        )
    reader = ShardReader(prepared_uri, "val")
    for index in range(len(reader)):
        reader.row(index)


def golden_images(prepared_uri: str) -> list[bytes]:
    """The files of a few frozen images, evenly spread.

    Raises:
        InputError: the data are not there, or damaged.
    """
    reader = ShardReader(prepared_uri, "val")
    return [reader.row(index)["image"] for index in spread(range(len(reader)), NUM_GOLDEN)]


def moved_into_training(frozen_uri: str, trained_uri: str, near: bool) -> list[str]:
    """The frozen images that are among the training images, in words, where they were not when the set was frozen.

    Pictures are compared, not their labels: one that was in the training data then may be labelled anew.

    Args:
        frozen_uri: prepared data whose validation split is the frozen set.
        trained_uri: prepared data that a model is trained on.
        near: also pictures that only look like a frozen one.

    Raises:
        InputError: either is not there, or damaged.
    """
    if frozen_uri == trained_uri:
        return []
    known = {own.sha256 for own in ShardReader(frozen_uri, "train").prints()}
    new = [own for own in ShardReader(trained_uri, "train").prints() if own.sha256 not in known]
    leaks = find_leaks(ShardReader(frozen_uri, "val").prints(), new)
    return [
        f"frozen image {leak.image} is in the training data now: {leak.message.replace('of the other split ', '')}"
        for leak in leaks
        if near or leak.rule == "leak-exact"
    ]


def check_apart(frozen_uri: str, trained_uri: str, near: bool) -> None:
    """Refuse training data that hold images on which the model is to be measured; arguments as above.

    Raises:
        InputError: naming each frozen image that has moved into the training data.
    """
    moved = moved_into_training(frozen_uri, trained_uri, near)
    if moved:
        cure = "take it out of the training data, or freeze anew"
        switch = "; where all images look alike, --register.near_images accept" if near else ""
        more = [f"{len(moved) - MAX_NAMED} more frozen images are in the training data"] * (len(moved) > MAX_NAMED)
        raise InputError([*(f"{words}; {cure}{switch}" for words in moved[:MAX_NAMED]), *more])
