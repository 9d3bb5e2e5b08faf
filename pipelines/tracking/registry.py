"""The model registry of MLflow: versions of registered models, their tags, and aliases."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.addresses import masked, shown
from pipelines.store.hashes import digest
from pipelines.tracking.address import REGISTERED, shown_uri
from pipelines.tracking.database import answering, client, unless_exists

MODEL_SHA256 = "model_sha256"
"""Tag of a version: the hash of its model folder, as `hashes.digest` computes it."""
PAGE = 100
"""Entries of one answer of the registry."""
MAX_NAMED = 20
"""Models or versions that a message names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """One version of a registered model."""

    name: str
    number: int
    model_uri: str
    """Folder of the model."""
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """`models:/name/version`."""
        return f"{REGISTERED}{self.name}/{self.number}"


@answering()
def resolve_model(uri: str) -> str:
    """The model folder that `models:/name@alias` or `models:/name/version` stands for.

    Raises:
        InputError: no such model, version or alias; or its folder is not the one that was registered, for whoever may
            write to the registry could let it point anywhere.
        Unavailable: the tracking server does not answer; so with all functions here.
    """
    (name, which, is_alias), uri = _parsed(uri), shown(uri)
    model = _registered(name)
    if model is None:
        names = [model.name for model in itertools.islice(_pages(client().search_registered_models), MAX_NAMED + 1)]
        known = f"there are {_listed(names)}" if names else "there are none; run `register` first"
        raise InputError(f"{uri}: no registered model {masked(name)!r} at {shown_uri()}; {known}")
    number = str(model.aliases.get(which)) if is_alias else which
    versions = {str(version.number): version for version in versions_of(name)}
    if number not in versions:
        named = _listed([f"{name}@{alias}" for alias in model.aliases]) or "no alias"
        raise InputError(f"{uri}: no such version; there are versions {_listed(sorted(versions, key=int))} and {named}")
    _check_source(uri, versions[number])
    return versions[number].model_uri


@answering()
def versions_of(name: str) -> list[ModelVersion]:
    """All versions of a registered model; none where there is no such model."""
    quote = '"' if "'" in name else "'"
    entries = _pages(lambda **page: client().search_model_versions(f"name={quote}{name}{quote}", **page))
    return [_version(entry) for entry in entries]


def version_of(model_uri: str, name: str) -> ModelVersion | None:
    """The version of the registered model `name` that is the model folder at `model_uri`; None: there is none."""
    return next((version for version in versions_of(name) if version.model_uri == model_uri), None)


@answering()
def create_version(model_uri: str, name: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
    """Make a model folder a version of the registered model `name`; a second call gives the same version."""
    with unless_exists():
        client().create_registered_model(name)
    version = version_of(model_uri, name)
    if version is not None:
        return version
    return _version(client().create_model_version(name, model_uri, run_id, tags=dict(tags)))


@answering()
def set_tags(version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Write those tags of a version that have another value now."""
    for key, value in tags.items():
        if version.tags.get(key) != value:
            client().set_model_version_tag(version.name, str(version.number), key, value)


@answering()
def alias_holder(name: str, alias: str) -> ModelVersion | None:
    """The version that an alias of a registered model points to; None where there is no such model or alias."""
    model = _registered(name)
    number = model.aliases.get(alias) if model else None
    return None if number is None else _version(client().get_model_version(name, str(number)))


@answering()
def move_alias(name: str, alias: str, version: ModelVersion) -> None:
    """Let an alias point to a version."""
    client().set_registered_model_alias(name, alias, str(version.number))


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


def _check_source(uri: str, version: ModelVersion) -> None:
    """Compare a version's folder with what was registered."""
    source, expected = version.model_uri, version.tags.get(MODEL_SHA256)
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


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    """Every entry of a search, whose answers come in pages."""
    token = None
    while True:
        page = search(max_results=PAGE, page_token=token)
        yield from page
        if not (token := page.token):
            return


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")


def _version(entry: Any) -> ModelVersion:
    return ModelVersion(
        name=entry.name, number=int(entry.version), model_uri=str(entry.source), tags=dict(entry.tags or {})
    )
