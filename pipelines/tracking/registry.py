"""The model registry of MLflow: versions of registered models, their tags, and aliases.

A server accepts as a version's model what is on S3 and what it keeps itself: a model folder of this machine is uploaded
to it, as artifacts of its run.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException

from aunet.errors import InputError
from aunet.names import NAME
from pipelines.store import storage
from pipelines.store.addresses import masked, shown
from pipelines.store.hashes import digest
from pipelines.store.layout import Store
from pipelines.store.ledger import Ledger
from pipelines.tracking.address import REGISTERED, is_server, shown_uri
from pipelines.tracking.database import answering, client, insisting, pages, unless_exists
from pipelines.tracking.model_copies import fetched, upload
from pipelines.tracking.recorded import recorded_entries, recorded_folders

MODEL_SHA256 = "model_sha256"
"""Tag of a version: the hash of its model folder, as `hashes.digest` computes it."""
MODEL_FOLDER = "model_folder"
"""Tag of a version whose model was uploaded: the folder in the store that it was uploaded from."""
PATIENCE = 1.0
"""Seconds until an alias that differs from the ledger is looked at again, twice."""
MAX_NAMED = 20
"""Models or versions that a message names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """One version of a registered model."""

    name: str
    number: int
    model_uri: str
    """Folder of the model in the store."""
    run_id: str
    """The MLflow run that it belongs to; empty: none."""
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """`models:/name/version`."""
        return f"{REGISTERED}{self.name}/{self.number}"


@answering()
def resolve_model(uri: str) -> str:
    """The model folder that `models:/name@alias` or `models:/name/version` stands for.

    Where the model was uploaded and its folder in the store is not on this machine, that is a copy from the server,
    which is removed when the process ends.

    Raises:
        InputError: no such model, version or alias; or it is not what the ledger or the registration recorded, for
            whoever may write to the registry could let it point anywhere.
        Unavailable: the tracking server does not answer; so with all functions here.
    """
    _, folder = resolve_version(uri)
    return folder


@answering()
def resolve_version(uri: str) -> tuple[ModelVersion, str]:
    """The same with the version that it is."""
    (name, which, is_alias), uri = _parsed(uri), shown(uri)
    model = _registered(name)
    if model is None:
        names = [model.name for model in itertools.islice(pages(client().search_registered_models), MAX_NAMED + 1)]
        known = f"there are {_listed(names)}" if names else "there are none; run `register` first"
        raise InputError(f"{uri}: no registered model {masked(name)!r} at {shown_uri()}; {known}")
    if is_alias:
        _check_alias(uri, name, which)
        model = _registered(name) or model
    number = str(model.aliases.get(which)) if is_alias else which
    versions = {str(version.number): version for version in versions_of(name)}
    if number not in versions:
        named = _listed([f"{name}@{alias}" for alias in model.aliases]) or "no alias"
        raise InputError(f"{uri}: no such version; there are versions {_listed(sorted(versions, key=int))} and {named}")
    if not is_alias:
        _check_recorded(uri, versions[number])
    folder = _local_copy(versions[number]) or versions[number].model_uri
    _check_source(uri, versions[number], folder)
    return versions[number], folder


@answering()
def named_version(uri: str) -> ModelVersion:
    """The version that `models:/name@alias` or `models:/name/version` stands for; its model is not looked at.

    Raises:
        InputError: there is none.
    """
    name, which, is_alias = _parsed(uri)
    version = alias_holder(name, which) if is_alias else None
    if not is_alias:
        version = next((version for version in versions_of(name) if str(version.number) == which), None)
    if version is None:
        raise InputError(f"{shown(uri)}: no such version at {shown_uri()}; run `register` for its run first")
    return version


@answering()
def versions_of(name: str) -> list[ModelVersion]:
    """All versions of a registered model; none where there is no such model."""
    quote = '"' if "'" in name else "'"
    entries = pages(lambda **page: client().search_model_versions(f"name={quote}{name}{quote}", **page))
    return [_version(entry) for entry in entries]


def own_versions(name: str) -> list[ModelVersion]:
    """Those versions whose numbers the ledgers have not recorded of other models, as they may where MLflow was lost."""
    recorded = recorded_folders(name)
    return [version for version in versions_of(name) if _is_own(version, recorded)]


def version_of(model_uri: str, name: str) -> ModelVersion | None:
    """The version of the registered model `name` that is the model folder at `model_uri`; None: there is none."""
    return next((version for version in own_versions(name) if version.model_uri == model_uri), None)


@answering()
def create_version(model_uri: str, name: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
    """Make a model folder a version of the registered model `name`; a second call gives the same version.

    Numbers that a ledger has recorded of other models, from before MLflow was lost, are passed over.

    Args:
        run_id: the MLflow run that the model belongs to.
        tags: of the version; `MODEL_SHA256` among them.

    Raises:
        InputError: the folder has to be uploaded, and there is no such run.
    """
    with unless_exists():
        client().create_registered_model(name)
    version = version_of(model_uri, name)
    if version is not None:
        return version
    source, tags = model_uri, dict(tags)
    if is_server() and not storage.is_remote(model_uri):
        source, tags[MODEL_FOLDER] = upload(model_uri, run_id, tags[MODEL_SHA256]), model_uri
    recorded = recorded_folders(name)
    while not _is_own(version := _version(client().create_model_version(name, source, run_id, tags=tags)), recorded):
        client().delete_model_version(name, str(version.number))
    return version


@answering()
def set_tags(version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Write those tags of a version that have another value now."""
    for key, value in tags.items():
        if version.tags.get(key) != value:
            insisting(lambda key=key, value=value: _set_tag(version, key, value))


@answering()
def describe(version: ModelVersion, text: str) -> None:
    """Write a version's description, in Markdown, where it has another one now."""
    mlflow, number = client(), str(version.number)
    if mlflow.get_model_version(version.name, number).description != text:
        mlflow.update_model_version(version.name, number, text)


@answering()
def alias_holder(name: str, alias: str) -> ModelVersion | None:
    """The version that an alias of a registered model points to; None where there is no such model or alias."""
    model = _registered(name)
    number = model.aliases.get(alias) if model else None
    return None if number is None else _version(client().get_model_version(name, str(number)))


@answering()
def move_alias(name: str, alias: str, version: ModelVersion) -> None:
    """Let an alias point to a version."""
    insisting(lambda: client().set_registered_model_alias(name, alias, str(version.number)))


def _check_alias(uri: str, name: str, alias: str) -> None:
    """Compare an alias with the head of its ledger, which is ahead of it for a moment while a champion changes."""
    ledger = ledger_of(name, alias)
    for last in (False, False, True):
        head, holder = ledger and ledger.head(), alias_holder(name, alias)
        actual = holder.tags.get(MODEL_SHA256) if holder else None
        if head is None or actual == head.model_sha256:
            return
        if not last:
            time.sleep(PATIENCE)
            continue
        pointed = f"version {holder.number} with the hash {actual!s:.16}" if holder else "no version"
        raise InputError(
            f"{uri}: the alias is {pointed}; by entry {head.number} of the ledger ({head.when}, {head.who}) it is "
            f"version {head.version} with the hash {head.model_sha256:.16}; run `ledger {name} --reconcile`"
        )


def _check_recorded(uri: str, version: ModelVersion) -> None:
    """Compare a version with what the ledgers of its model have recorded under its number."""
    actual, name = version.tags.get(MODEL_SHA256), version.name
    for entry in recorded_entries(name):
        if entry.version == version.number and entry.model_sha256 != actual:
            raise InputError(
                f"{uri}: version {version.number} has the hash {actual!s:.16}, by entry {entry.number} of the "
                f"ledger it is {entry.model_sha256:.16}; run `ledger {name} --reconcile`; where that does not help, "
                "delete the version in MLflow and run `register` for its run, which gives it another number"
            )


def _is_own(version: ModelVersion, recorded: Mapping[int, set[str]]) -> bool:
    """Whether no other model is recorded under a version's number."""
    return recorded.get(version.number, set()) <= {version.model_uri}


def ledger_of(name: str, alias: str) -> Ledger | None:
    """The ledger of an alias; None where names like these have none."""
    return Store.here().ledger(name, alias) if NAME.fullmatch(name) and NAME.fullmatch(alias) else None


def _set_tag(version: ModelVersion, key: str, value: str) -> None:
    client().set_model_version_tag(version.name, str(version.number), key, value)


def _parsed(uri: str) -> tuple[str, str, bool]:
    """Name, alias or number, and whether it is an alias."""
    name_and_which = uri.removeprefix(REGISTERED)
    is_alias = "@" in name_and_which
    name, _, which = name_and_which.partition("@" if is_alias else "/")
    if not (name and which) or {"/", ":"} & set(name + which) or {"'", '"'} <= set(name):
        raise InputError(
            f"{shown(uri)}: not a registered model; give {REGISTERED}NAME@ALIAS or {REGISTERED}NAME/VERSION"
        )
    return name, which, is_alias


def _local_copy(version: ModelVersion) -> str | None:
    """A copy of an uploaded model; None: it was not uploaded, or its folder is here."""
    sha256 = version.tags.get(MODEL_SHA256)
    if sha256 is None or MODEL_FOLDER not in version.tags:
        return None
    with contextlib.suppress(InputError):
        if digest(version.model_uri) == sha256:
            return None
    return fetched(version.run_id, sha256)


def _check_source(uri: str, version: ModelVersion, source: str) -> None:
    """Compare a version's folder with what was registered."""
    expected = version.tags.get(MODEL_SHA256)
    location = f"{uri}: version {version.number} is at {shown(source)}"
    if expected is None:
        raise InputError(f"{location} and has no tag {MODEL_SHA256}; run `register` for it, or name its folder")
    if source != storage.absolute(source):
        raise InputError(f"{location}, which is no absolute path or URI; delete the version and run `register` again")
    if digest(source) != expected:
        raise InputError(
            f"{location}, whose content is not what was registered: it is another folder, or was changed; delete the "
            "version, and do not load that folder unless you know it"
        )


def _registered(name: str) -> Any | None:
    try:
        return client().get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")


def _version(entry: Any) -> ModelVersion:
    tags = dict(entry.tags or {})
    return ModelVersion(
        name=entry.name,
        number=int(entry.version),
        model_uri=tags.get(MODEL_FOLDER) or str(entry.source),
        run_id=entry.run_id or "",
        tags=tags,
    )
