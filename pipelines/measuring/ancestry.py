"""Where models come from, and which runs saw an image: read from the store alone, without MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from aunet.data.leakage import NEAR, Print
from aunet.errors import InputError
from aunet.model_files import CONFIG, WEIGHTS
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.settings.run_config import RunConfig, from_json
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData, TrainedRun
from pipelines.store.hashes import check_listing, digest_of
from pipelines.store.layout import Store
from pipelines.store.origin import Origin
from pipelines.store.run_folder import RunFolder
from pipelines.store.stored_json import read_stored


@dataclass(frozen=True, kw_only=True, slots=True)
class Ancestry:
    """A model and the run that trained it."""

    model_uri: str
    sha256: str
    """Names the folder, see `hashes.digest`."""
    weights_sha256: str
    """Of the weights alone; empty for an exported program."""
    config: RunConfig
    run: TrainedRun | None
    """None: no run of this store has this model."""
    origin: Origin
    manifest: Manifest | None
    """Of the data that the run was trained on; None: it is unknown, or is not there any more."""

    @property
    def prepared(self) -> PreparedData | None:
        """The data that the run was trained on; None: they are unknown, or not what they were."""
        if self.manifest is None or self.manifest.fingerprint != self.origin.data_fingerprint:
            return None
        return self.manifest.artifact(self.origin.prepared_uri)


def ancestry(model_uri: str) -> Ancestry:
    """Where the model in a folder comes from. A copy of a run's model has the same ancestry.

    Raises:
        InputError: the folder is damaged, or the model was not trained by `train`.
    """
    hashes = check_listing(model_uri)
    document = storage.join(model_uri, CONFIG)
    settings = read_stored(document, "fetch the folder again").get("run")
    if not isinstance(settings, dict):
        raise InputError(f"{document}: does not say by which run it was trained; name a model of `train`")
    sha256 = digest_of(hashes)
    run = _run_of(model_uri, sha256)
    origin = Origin.of(RunFolder(run.uri).history) if run else Origin()
    return Ancestry(
        model_uri=model_uri,
        sha256=sha256,
        weights_sha256=hashes.get(WEIGHTS, ""),
        config=from_json(RunConfig, settings, f"{document}: run"),
        run=run,
        origin=origin,
        manifest=_manifest_of(origin.prepared_uri),
    )


def _manifest_of(prepared_uri: str) -> Manifest | None:
    try:
        return Manifest.load(prepared_uri) if prepared_uri else None
    except InputError:
        return None


def _run_of(model_uri: str, sha256: str) -> TrainedRun | None:
    """The run beside a model folder, else the one of the store whose model has the same content."""
    for folder in (RunFolder(storage.parent(model_uri)), *Store.here().runs()):
        run = folder.trained()
        if run and storage.exists(run.model_uri) and digest_of(check_listing(run.model_uri)) == sha256:
            return run
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """An image among the data of a run."""

    run: str
    model_uri: str
    """Empty: the run is not finished."""
    split: str
    """`train`: the weights were made from it; `val`: it was measured on it, at most."""
    image_id: int
    file_name: str
    is_same_file: bool
    """Whether it is that very file, not one that looks like it."""
    prepared_uri: str


def sightings(sha256: str, look: int | None) -> Iterator[Sighting]:
    """The runs of the store whose data hold an image.

    Args:
        sha256: of its file, in hex; the first digits will do.
        look: its difference hash; pictures that look like it count too. None: only the file itself.
    """

    @cache
    def matches(prepared_uri: str) -> list[tuple[str, Print, bool]]:
        manifest = _manifest_of(prepared_uri)
        names = manifest.splits if manifest else ()
        prints = [(name, one) for name in names for one in ShardReader(prepared_uri, name).prints()]
        return [
            (name, one, is_same)
            for name, one in prints
            if (is_same := one.sha256.hex().startswith(sha256)) or _alike(one.difference_hash, look)
        ]

    for folder in Store.here().runs():
        origin = Origin.of(folder.history)
        trained = folder.trained()
        for split, one, is_same in matches(origin.prepared_uri):
            yield Sighting(
                run=folder.name,
                model_uri=trained.model_uri if trained else "",
                split=split,
                image_id=one.image,
                file_name=one.uri,
                is_same_file=is_same,
                prepared_uri=origin.prepared_uri,
            )


def _alike(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and (one ^ other).bit_count() <= NEAR
