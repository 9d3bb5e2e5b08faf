"""`lineage`: where a model comes from and how it was promoted, or which models saw an image."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import asdict, dataclass
from typing import Any

from aunet.data.pictures import difference_hash, look, open_picture
from aunet.errors import InputError
from pipelines.measuring.ancestry import Ancestry, Sighting, Unsearched, ancestry, sightings
from pipelines.measuring.named_models import model_folder
from pipelines.settings.run_config import to_json
from pipelines.store import storage
from pipelines.store.artifacts import Report, VerbResult
from pipelines.store.layout import Store
from pipelines.store.ledger import LedgerEntry
from pipelines.store.run_folder import RunFolder

SHA256 = re.compile("[0-9a-f]{8,64}", re.IGNORECASE)
UNKNOWN = "not recorded"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelLineage(VerbResult):
    """Where a model comes from."""

    ancestry: Ancestry
    report: Report | None
    """On the run's own validation split."""
    entries: tuple[tuple[str, LedgerEntry], ...]
    """About this model: name@alias of the ledger, and the entry."""

    def to_json(self) -> dict[str, Any]:
        """`model`, `run`, `config`, `data`, `code`, `base_weights`, `report`, `ledger`, and the command `reproduce`."""
        known, origin, manifest = self.ancestry, self.ancestry.origin, self.ancestry.manifest
        return {
            "model": {"uri": known.model_uri, "sha256": known.sha256, "weights_sha256": known.weights_sha256},
            "run": asdict(known.run) if known.run else None,
            "config": to_json(known.config),
            "data": {
                "uri": origin.prepared_uri,
                "fingerprint": origin.data_fingerprint,
                "source_fingerprint": manifest.source_fingerprint if manifest else None,
                "validation_fingerprint": manifest.split_fingerprint("val") if manifest else None,
                "images": {name: split.num_images for name, split in manifest.splits.items()} if manifest else {},
            },
            "code": list(origin.code),
            "libraries": list(origin.libraries),
            "devices": list(origin.devices),
            "starts": origin.starts,
            "base_weights": {"name": origin.weights, "sha256": origin.weights_sha256} if origin.weights else None,
            "report": asdict(self.report) if self.report else None,
            "ledger": [{"ledger": ledger, **entry.to_json()} for ledger, entry in self.entries],
            "reproduce": f"python -m jobs reproduce {known.run.uri}" if known.run else None,
        }

    def lines(self) -> list[str]:
        """The same for people."""
        known, origin, manifest = self.ancestry, self.ancestry.origin, self.ancestry.manifest
        images = ", ".join(f"{split.num_images} {name}" for name, split in manifest.splits.items()) if manifest else ""
        weights = f"{origin.weights}, SHA-256 {origin.weights_sha256}" if origin.weights else "from scratch"
        promotions = {
            f"{name} {entry.number}": f"{entry.action} by {entry.who}: {entry.why}" for name, entry in self.entries
        }
        facts = {
            "model": f"{known.model_uri}, SHA-256 {known.sha256}",
            "run": f"{known.run.uri}, {known.run.steps} steps, {origin.starts} starts" if known.run else UNKNOWN,
            "config": f"{known.config.name}, in {known.model_uri}",
            "data": f"{origin.data_fingerprint} ({images}) in {origin.prepared_uri}" if manifest else UNKNOWN,
            "made from": manifest.source_fingerprint if manifest else UNKNOWN,
            "code": ", then ".join(origin.code) or UNKNOWN,
            "libraries": ", then ".join(origin.libraries) or UNKNOWN,
            "device": ", then ".join(origin.devices) or UNKNOWN,
            "weights": weights if origin.libraries else UNKNOWN,
            "report": f"PQ {self.report.metrics['PQ']:.2f}, {self.report.html_uri}" if self.report else "none",
            **promotions,
            "again": f"python -m jobs reproduce {known.run.uri}" if known.run else UNKNOWN,
        }
        width = max(map(len, facts))
        return [f"{name:>{width}}  {fact}" for name, fact in facts.items()]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLineage(VerbResult):
    """The runs that saw an image."""

    image: str
    """SHA-256 of its file, or the first digits that were given."""
    seen: tuple[Sighting, ...]
    unknown: tuple[Unsearched, ...]
    """Runs that may have seen it."""

    @property
    def exit_code(self) -> int:
        """2 where it is not known of every run."""
        return 2 if self.unknown else 0

    @property
    def models(self) -> list[str]:
        """Models whose weights were made from it."""
        return sorted({sighting.model_uri for sighting in self.seen if sighting.split == "train"} - {""})

    def to_json(self) -> dict[str, Any]:
        """The fields, and `models`, those that were trained on it."""
        return {**asdict(self), "models": self.models}

    def lines(self) -> list[str]:
        """The same for people."""
        if not self.seen and not self.unknown:
            return [f"{self.image}: no run of this store saw it"]
        seen = [
            f"{sighting.run}: {f'began with the model of {sighting.through}, which was ' if sighting.through else ''}"
            f"{'trained on' if sighting.split == 'train' else 'measured on'} "
            f"{'it' if sighting.is_same_file else 'a picture that looks like it'}, "
            f"image {sighting.image_id}, {sighting.file_name}"
            for sighting in self.seen
        ]
        return seen + [f"{one.run}: not known whether it saw it: {one.why}" for one in self.unknown]


def lineage(model: str | None = None, image: str | None = None) -> ModelLineage | ImageLineage:
    """Where a model comes from, or which runs saw an image; one of the two is given.

    Args:
        model: models:/NAME@ALIAS, models:/NAME/VERSION, or the URI of a model folder or a run.
        image: SHA-256 of an image file, 8 digits or more; or the file, so that pictures that look like it count too.

    Raises:
        InputError: none or both are given, there is no such model, or the image is neither a hash nor a picture.
    """
    if (model is None) == (image is None):
        raise InputError("lineage: name a model, or an image with --image, and not both")
    result = _of_model(model) if model is not None else _of_image(str(image))
    print("\n".join(result.lines()), file=sys.stderr)
    return result


def _of_model(model: str) -> ModelLineage:
    known = ancestry(model_folder(model))
    store = Store.here()
    return ModelLineage(
        ancestry=known,
        report=RunFolder(known.run.uri).report().report() if known.run else None,
        entries=tuple(
            (f"{name}@{alias}", entry)
            for name, alias in store.ledgers()
            for entry in store.ledger(name, alias).entries()
            if entry.model_sha256 == known.sha256
        ),
    )


def _of_image(image: str) -> ImageLineage:
    if SHA256.fullmatch(image):
        return _searched(image.lower(), None)
    if not storage.exists(image):
        raise InputError(
            f"--image {image}: neither a file nor a SHA-256; give a file, or 8 to 64 hex digits of its hash"
        )
    content = storage.read_bytes(image)
    picture, _, problem = open_picture(content)
    if picture is None:
        raise InputError(f"--image {image}: {problem}; give a JPEG or PNG, or the SHA-256 of the file")
    sha256 = hashlib.sha256(content).hexdigest()
    return _searched(sha256, difference_hash(look(content) or picture))


def _searched(sha256: str, look: int | None) -> ImageLineage:
    seen, unknown = sightings(sha256, look)
    return ImageLineage(image=sha256, seen=tuple(seen), unknown=tuple(unknown))
