"""Where models come from, and which runs saw an image: read from the store alone, without MLflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

from aunet.data.leakage import NEAR, Print
from aunet.errors import InputError
from aunet.model_files import CONFIG, WEIGHTS
from pipelines.data.manifest import Manifest
from pipelines.data.shards import ShardReader
from pipelines.measuring.descent import ancestors, parents
from pipelines.settings.run_config import RunConfig, from_json
from pipelines.store import storage
from pipelines.store.artifacts import PreparedData, TrainedRun
from pipelines.store.hashes import check_listing, digest_of
from pipelines.store.layout import PreparedFolder, Store
from pipelines.store.origin import Origin
from pipelines.store.run_folder import ReportFolder, RunFolder, read_report
from pipelines.store.stored_json import read_stored

ELSE = "or treat its model as one that saw the image"
NO_PARENT = f"the model that it began with is that of no run in this store; restore that run, {ELSE}"


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
        return _manifest_at(prepared_uri) if prepared_uri else None
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
    through: str = ""
    """The run that saw it, whose model this one began with (`model.init_from`); empty: it is this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsearched:
    """A run of which it is not known whether it saw an image: data of it cannot be searched."""

    run: str
    model_uri: str
    """Empty: the run is not finished."""
    why: str
    """With the cure."""


def sightings(sha256: str, look: int | None) -> tuple[list[Sighting], list[Unsearched]]:
    """The runs of the store whose data hold an image, and those of which that is not known.

    The data of a run are what it was trained on, and the validation split of each of its reports. A run that began with
    the model of another saw what that was trained on.

    Args:
        sha256: of its file, in hex; the first digits will do.
        look: its difference hash; pictures that look like it count too. None: only the file itself.
    """
    manifest_at = cache(_manifest_at)

    @cache
    def matches(prepared_uri: str, split: str, fingerprint: str) -> list[tuple[Print, bool]]:
        manifest_at(prepared_uri)
        reader = ShardReader(prepared_uri, split)
        _check_same(prepared_uri, reader.manifest.split_fingerprint(split), fingerprint)
        return [
            (one, is_same)
            for one in reader.prints()
            if (is_same := one.sha256.hex().startswith(sha256)) or _alike(one.difference_hash, look)
        ]

    seen: list[Sighting] = []
    unsearched: list[Unsearched] = []
    runs = [*Store.here().runs()]
    models = {folder.name: trained.model_uri if (trained := folder.trained()) else "" for folder in runs}
    for folder in runs:
        model_uri = models[folder.name]
        searched: set[str] = set()
        reports = (partial(_measured_on, report) for report in folder.reports())
        for data_of in (partial(_trained_on, folder, manifest_at), *reports):
            try:
                prepared_uri, splits = data_of()
                for split, fingerprint in splits.items():
                    if fingerprint in searched:
                        continue
                    seen += [
                        Sighting(
                            run=folder.name,
                            model_uri=model_uri,
                            split=split,
                            image_id=one.image,
                            file_name=one.uri,
                            is_same_file=is_same,
                            prepared_uri=prepared_uri,
                        )
                        for one, is_same in matches(prepared_uri, split, fingerprint)
                    ]
                    searched.add(fingerprint)
            except InputError as error:
                unsearched.append(Unsearched(run=folder.name, model_uri=model_uri, why=error.problems[0]))
    teachers = {one.run: one for one in reversed(seen) if one.split == "train"}
    doubtful, known = {one.run for one in unsearched}, parents(runs)
    for run in known:
        for ancestor in ancestors(run, known):
            if ancestor in teachers:
                seen.append(replace(teachers[ancestor], run=run, model_uri=models[run], through=ancestor))
            if not ancestor or ancestor in doubtful:
                why = f"it began with the model of {ancestor}, of which that is not known" if ancestor else NO_PARENT
                unsearched.append(Unsearched(run=run, model_uri=models[run], why=why))
    return seen, list(dict.fromkeys(unsearched))


def _trained_on(folder: RunFolder, manifest_at: Callable[[str], Manifest]) -> tuple[str, dict[str, str]]:
    """The data of a run: where they are, and their splits with their fingerprints; none before it begins to train."""
    origin = Origin.of(folder.history)
    if not origin.prepared_uri:
        traces = (folder.artifact_uri, folder.model_uri, folder.checkpoints.uri)
        if not folder.history.events() and not any(map(storage.exists, traces)):
            return "", {}
        raise InputError(f"{folder.history.uri}: no event says what it was trained on; restore its events, {ELSE}")
    manifest = manifest_at(origin.prepared_uri)
    _check_same(origin.prepared_uri, manifest.fingerprint, origin.data_fingerprint or manifest.fingerprint)
    return origin.prepared_uri, {split: manifest.split_fingerprint(split) for split in manifest.splits}


def _measured_on(folder: ReportFolder) -> tuple[str, dict[str, str]]:
    """The same of a report, which is on a validation split; none before it is finished."""
    if not storage.exists(folder.document_uri):
        return "", {}
    document = read_report(folder.document_uri)
    uri = document.get("prepared_uri") or Store.here().pool.prepared(str(document.get("data_fingerprint", ""))).uri
    return str(uri), {"val": folder.split_fingerprint()}


def _manifest_at(prepared_uri: str) -> Manifest:
    if not storage.exists(PreparedFolder(prepared_uri).manifest_uri):
        raise InputError(f"{prepared_uri}: the prepared data are gone; restore them, {ELSE}")
    return Manifest.load(prepared_uri)


def _check_same(prepared_uri: str, actual: str, expected: str) -> None:
    if actual != expected:
        raise InputError(f"{prepared_uri}: the prepared data are {actual} now, not {expected}; restore them, {ELSE}")


def _alike(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and (one ^ other).bit_count() <= NEAR
