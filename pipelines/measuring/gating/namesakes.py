"""Whether a model may compete under a name: the champion that has it must know the same categories."""

from __future__ import annotations

from typing import Any

from aunet.categories import Categories, difference
from aunet.config_json import from_json
from aunet.documents import read_object
from aunet.errors import InputError
from aunet.model_files import CONFIG
from pipelines.settings.run_config import RegisterConfig
from pipelines.store import storage
from pipelines.store.layout import Store


def categories_of(model_uri: str) -> Categories | None:
    """The categories of a model folder; None: it cannot be read, or does not say."""
    uri = storage.join(model_uri, CONFIG)
    try:
        plain = read_object(storage.read_bytes(uri), uri).get("categories")
        return Categories.from_json(from_json(tuple[Any, ...], plain, "categories"))
    except InputError:
        return None


def other_categories(settings: RegisterConfig, own: Categories | None) -> str | None:
    """Why a model of these categories is not registered under its name, with the cure; None: it may be.

    Where there is no champion, or nothing is known of its categories, the gate decides.
    """
    head = Store.here().ledger(settings.model_name, settings.alias).head()
    theirs = categories_of(head.model_uri) if head and own else None
    if head is None or own is None or theirs is None or not (words := difference(own.entries, theirs.entries)):
        return None
    return (
        f"register.model_name = {settings.model_name!r}: its {settings.alias}, version {head.version}, knows other "
        f"categories ({words}); give these data a name of their own with --register.model_name NAME, or replace it by "
        "`promote` with --force and --why"
    )
