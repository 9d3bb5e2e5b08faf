"""The model registry of MLflow: versions of registered models, their tags, and aliases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aunet.errors import InputError
from pipelines.tracking.address import REGISTERED, shown_uri
from pipelines.tracking.database import answering, client, unless_exists


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
        InputError: no such model, version or alias.
        Unavailable: the tracking server does not answer; so with all functions here.
    """
    name_and_which = uri.removeprefix(REGISTERED).strip("/")
    name, separator, which = name_and_which.partition("@" if "@" in name_and_which else "/")
    models = {model.name: model for model in client().search_registered_models()}
    if name not in models:
        known = f"there are {', '.join(models)}" if models else "there are none; run `register` first"
        raise InputError(f"{uri}: no registered model {name!r} at {shown_uri()}; {known}")
    aliases = models[name].aliases
    number = str(aliases.get(which)) if separator == "@" else which
    versions = {str(version.number): version for version in versions_of(name)}
    if number not in versions:
        named = ", ".join(f"{name}@{alias}" for alias in aliases) or "no alias"
        raise InputError(f"{uri}: no such version; there are versions {', '.join(sorted(versions))} and {named}")
    return versions[number].model_uri


@answering()
def versions_of(name: str) -> list[ModelVersion]:
    """All versions of a registered model; none where there is no such model."""
    return [_version(entry) for entry in client().search_model_versions(f"name='{name}'")]


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
    models = {model.name: model for model in client().search_registered_models(f"name='{name}'")}
    number = models[name].aliases.get(alias) if name in models else None
    return None if number is None else _version(client().get_model_version(name, str(number)))


@answering()
def move_alias(name: str, alias: str, version: ModelVersion) -> None:
    """Let an alias point to a version."""
    client().set_registered_model_alias(name, alias, str(version.number))


def _version(entry: Any) -> ModelVersion:
    return ModelVersion(
        name=entry.name, number=int(entry.version), model_uri=str(entry.source), tags=dict(entry.tags or {})
    )
