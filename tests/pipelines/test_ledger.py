"""`ledger`: what it shows, what differs in MLflow, and what a repair does."""

from __future__ import annotations

import io
import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from aunet.errors import InputError
from jobs.__main__ import main
from pipelines.ledger import ledger
from pipelines.promote import promote as promote_rehearsed
from pipelines.store.hashes import digest
from pipelines.store.layout import Store
from pipelines.tracking import registry
from pipelines.tracking.database import client
from pipelines.tracking.registry import alias_holder, resolve_model
from tests.promotions import evaluated_run, no_rehearsal

promote = partial(promote_rehearsed, rehearse=no_rehearsal)


def champion() -> int | None:
    holder = alias_holder("aunet", "champion")
    return holder.number if holder else None


@pytest.fixture
def store(mlflow_store: Path) -> Path:
    promote(evaluated_run(mlflow_store, "first", 40.0).uri)
    promote(evaluated_run(mlflow_store, "second", 50.0).uri, why="more data")
    return mlflow_store


def test_the_table_says_who_became_champion_and_why(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    assert main(["ledger", "aunet"], out) == 0
    state = json.loads(out.getvalue().splitlines()[-1])
    assert [entry["version"] for entry in state["entries"]] == [1, 2] and "gate" not in state["entries"][0]
    assert state["champion"]["version"] == 2 and state["champion"]["gate"]["verdict"] == "PROMOTE"
    assert state["differences"] == []
    table = capsys.readouterr().err
    for words in ("aunet@champion", "promote", "50.00", "PROMOTE"):
        assert words in table
    assert ledger().model_name == "aunet", "the only one of the store"


def test_an_alias_that_was_moved_behind_our_back_is_named_and_repaired(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client().set_registered_model_alias("aunet", "champion", "1")
    head = Store.here().ledger("aunet").entries()[-1]
    with pytest.raises(InputError) as refused:
        resolve_model("models:/aunet@champion")
    for words in ("the alias is version 1 with the hash ", "by entry 2 of the ledger (", head.who, "it is version 2"):
        assert words in str(refused.value)
    assert "run `ledger aunet --reconcile`" in str(refused.value)
    state = ledger("aunet")
    assert state.differences == ("aunet: champion is version 1, by entry 2 of the ledger version 2",)
    assert state.exit_code == 2 and champion() == 1
    assert "MLflow differs from the ledger; run `ledger aunet --reconcile`" in capsys.readouterr().err
    repaired = ledger("aunet", reconcile=True)
    assert repaired.repaired and repaired.exit_code == 0 and repaired.differences == state.differences
    assert champion() == 2 and ledger("aunet").differences == ()
    assert resolve_model("models:/aunet@champion") == str(store / "runs/second/model")


def test_an_alias_that_was_taken_away_is_repaired(store: Path) -> None:
    client().delete_registered_model_alias("aunet", "champion")
    with pytest.raises(InputError, match="the alias is no version; by entry 2"):
        resolve_model("models:/aunet@champion")
    assert ledger("aunet", reconcile=True).differences and champion() == 2


def test_the_next_promotion_repairs_too(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client().set_registered_model_alias("aunet", "champion", "1")
    assert promote(evaluated_run(store, "worse", 30.0).uri).exit_code == 3
    assert champion() == 2
    assert "ledger aunet: repairing: aunet: champion is version 1, by entry 2" in capsys.readouterr().err


def test_a_version_that_was_deleted_is_made_again(store: Path) -> None:
    client().delete_registered_model_alias("aunet", "champion")
    client().delete_model_version("aunet", "2")
    assert any("no version is the model" in words for words in ledger("aunet").differences)
    assert ledger("aunet", reconcile=True).repaired
    assert resolve_model("models:/aunet@champion") == str(store / "runs/second/model")
    client().delete_registered_model("aunet")
    shutil.rmtree(store / "runs/second/model")
    with pytest.raises(
        InputError, match=r"no version is the model of entry 2, and .*; restore the folder, or run `roll"
    ):
        ledger("aunet", reconcile=True)


def test_a_former_champion_that_is_gone_is_no_difference(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its folder and its version were removed: nothing can repair that, and nothing asks for it."""
    client().delete_model_version("aunet", "1")
    assert ledger("aunet").exit_code == 2, "its folder is still in the store"
    shutil.rmtree(store / "runs/first")
    assert (ledger("aunet").differences, ledger("aunet").exit_code) == ((), 0)
    assert ledger("aunet", reconcile=True).differences == ()
    promote(evaluated_run(store, "worse", 30.0).uri)
    assert "repairing" not in capsys.readouterr().err


def test_what_a_repair_leaves_is_not_called_repaired(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client().set_model_version_tag("aunet", "2", "reason", "another")
    with monkeypatch.context() as patch:
        patch.setattr(registry, "set_tags", lambda version, tags: None)
        state = ledger("aunet", reconcile=True)
    assert (state.repaired, state.exit_code) == (False, 2) and state.differences
    assert "tag reason is 'another'" in capsys.readouterr().err
    assert ledger("aunet", reconcile=True).exit_code == 0 and ledger("aunet").exit_code == 0


def test_after_mlflow_was_lost_no_number_stands_for_another_model(mlflow_store: Path) -> None:
    """Champions were the versions 1, 3 and 4: made anew in this order, they would be 1, 2 and 3."""
    store = mlflow_store
    for name, pq in (("first", 40.0), ("held", 30.0), ("second", 50.0), ("third", 60.0)):
        promote(evaluated_run(store, name, pq).uri)
    assert [entry["version"] for entry in ledger("aunet").entries] == [1, 3, 4]
    client().delete_registered_model("aunet")
    assert ledger("aunet", reconcile=True).exit_code == 0 and ledger("aunet").differences == ()
    folders = {number: resolve_model(f"models:/aunet/{number}") for number in (1, 2, 4)}
    assert folders == {n: str(store / f"runs/{run}/model") for n, run in ((1, "first"), (2, "second"), (4, "third"))}
    with pytest.raises(InputError, match="no such version; there are versions 1, 2, 4"):
        resolve_model("models:/aunet/3")
    assert resolve_model("models:/aunet@champion") == folders[4]


def test_whoever_registers_first_after_mlflow_was_lost_comes_after_the_champions(store: Path) -> None:
    client().delete_registered_model("aunet")
    assert promote(evaluated_run(store, "third", 60.0).uri).version == 3
    assert resolve_model("models:/aunet/3") == str(store / "runs/third/model")
    folders = {version.number: version.model_uri for version in registry.versions_of("aunet")}
    assert folders == {n: str(store / f"runs/{run}/model") for n, run in ((1, "first"), (2, "second"), (3, "third"))}
    assert ledger("aunet").differences == ()


def test_a_version_under_the_number_of_another_is_made_again(store: Path) -> None:
    """Earlier versions made it, where MLflow was lost."""
    champions = str(store / "runs/second/model")
    client().delete_registered_model("aunet")
    client().create_registered_model("aunet")
    client().create_model_version("aunet", champions, "", tags={"model_sha256": digest(champions)})
    client().set_registered_model_alias("aunet", "champion", "1")
    with pytest.raises(InputError, match=r"version 1 has the hash .*by entry 1 .*--reconcile`; where that does not"):
        resolve_model("models:/aunet/1")
    assert any("no version is the model" in words for words in ledger("aunet").differences)
    assert ledger("aunet", reconcile=True).exit_code == 0 and ledger("aunet").differences == ()
    assert champion() == 4 and resolve_model("models:/aunet@champion") == resolve_model("models:/aunet/4") == champions
    client().delete_model_version("aunet", "1")
    assert promote(str(store / "runs/second")).version == 4 and ledger("aunet").differences == ()


def test_a_hash_that_was_changed_behind_our_back_is_repaired(store: Path) -> None:
    client().set_model_version_tag("aunet", "2", "model_sha256", "0" * 64)
    with pytest.raises(InputError, match="by entry 2 of the ledger"):
        resolve_model("models:/aunet@champion")
    with pytest.raises(InputError, match="version 2 has the hash 0000000000000000, by entry 2 of the ledger it is "):
        resolve_model("models:/aunet/2")
    assert ledger("aunet", reconcile=True).repaired
    assert resolve_model("models:/aunet@champion") == resolve_model("models:/aunet/2")


def test_a_champion_from_before_there_was_a_ledger_is_adopted(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(store / "ledger")
    assert resolve_model("models:/aunet@champion") == str(store / "runs/second/model")
    assert ledger("aunet").entries == ()
    assert "no entry for champion yet" in capsys.readouterr().err
    state = ledger("aunet", reconcile=True)
    (entry,) = state.entries
    assert (entry["action"], entry["version"], entry["figures"]) == ("adopt", 2, {"PQ": 50.0})
    assert "entry 1 of the ledger is version 2, which held champion" in capsys.readouterr().err
    assert ledger("aunet", reconcile=True).entries == state.entries

    shutil.rmtree(store / "ledger")
    assert promote(evaluated_run(store, "worse", 30.0).uri).exit_code == 3
    assert [e.action for e in Store.here().ledger("aunet").entries()] == ["adopt"]
    assert promote(evaluated_run(store, "better", 70.0).uri).entry == 2


def test_one_of_several_ledgers_must_be_named(store: Path) -> None:
    promote(evaluated_run(store, "other", 40.0, **{"register.model_name": "other"}).uri)
    with pytest.raises(InputError, match="2 ledgers; name one: aunet@champion, other@champion"):
        ledger()
    with pytest.raises(InputError, match="not a name"):
        ledger("../aunet")


def test_a_preset_stands_for_the_model_that_it_registers(mlflow_store: Path) -> None:
    out = io.StringIO()
    assert main(["ledger", "shapes_smoke"], out) == 0
    state = json.loads(out.getvalue().splitlines()[-1])
    assert (state["model_name"], state["alias"], state["champion"]) == ("aunet-shapes", "champion", None)
