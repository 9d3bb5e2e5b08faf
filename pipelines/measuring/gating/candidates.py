"""From what people call a model that is to be champion, or the ledger of one, to the thing itself."""

from __future__ import annotations

from dataclasses import replace

from aunet.config_json import from_json
from aunet.errors import InputError
from pipelines.measuring.gating.evidence import Evidence, read_evidence
from pipelines.settings.run_config import RegisterConfig
from pipelines.store import storage
from pipelines.store.layout import CHAMPION, Store
from pipelines.store.ledger import Ledger
from pipelines.store.run_folder import RunFolder
from pipelines.tracking import registry
from pipelines.tracking.address import REGISTERED, is_registered


def candidate(model: str) -> tuple[RegisterConfig, Evidence]:
    """The settings of the run that a model is of, and how it was measured: on the champion's images if it was, else on
    its own, else on those of its last report.

    Args:
        model: `models:/name/version`, or the URI of a run or of its model folder.

    Raises:
        InputError: there is no such model, or no report of it.
    """
    name, uri = None, storage.absolute(model) if not is_registered(model) else ""
    if is_registered(model):
        version = registry.named_version(model)
        name, uri = version.name, version.model_uri
    folder = RunFolder(uri if storage.exists(RunFolder(uri).artifact_uri) else storage.parent(uri))
    if not storage.exists(folder.artifact_uri):
        raise InputError(
            f"{model}: no run and no model of a run; give models:/NAME/VERSION, or the URI of a finished run"
        )
    plain = (folder.config() or {}).get("register", {})
    settings: RegisterConfig = from_json(RegisterConfig, plain, f"{folder.config_uri}: register")
    settings = replace(settings, model_name=name or settings.model_name)
    head = Store.here().ledger(settings.model_name, settings.alias).head()
    report = folder.report(head.val_fingerprint if head and head.val_fingerprint else None)
    if not storage.exists(report.document_uri):
        report = folder.main_report()
    return settings, read_evidence(report.document_uri)


def find_ledger(model: str | None, alias: str = CHAMPION) -> tuple[str, str, Ledger]:
    """Name, alias and ledger of a registered model.

    Args:
        model: its name, or `models:/name@alias`; None: the only one of this store.

    Raises:
        InputError: there is none, or several.
    """
    store = Store.here()
    if model is not None:
        name, _, named_alias = model.removeprefix(REGISTERED).partition("@")
        alias = named_alias or alias
        return name, alias, store.ledger(name, alias)
    known = store.ledgers()
    if len(known) == 1:
        name, alias = known[0]
        return name, alias, store.ledger(name, alias)
    names = ", ".join(f"{name}@{alias}" for name, alias in known)
    cure = f"name one: {names}" if known else "name a registered model; the first `register` begins one"
    raise InputError(f"{store.uri}: {len(known)} ledgers; {cure}")
