"""Going back to an earlier champion: by a new entry, in seconds, with MLflow or without."""

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
from pipelines.rollback import rollback
from pipelines.store.hashes import write_hashes
from pipelines.store.layout import Store
from pipelines.tracking.database import client
from pipelines.tracking.registry import alias_holder, resolve_model
from tests.promotions import Crash, crash_before, evaluated_run, no_rehearsal

promote = partial(promote_rehearsed, rehearse=no_rehearsal)


def champion() -> int:
    holder = alias_holder("aunet", "champion")
    assert holder is not None
    return holder.number


def three_champions(store: Path) -> None:
    for number, name in enumerate(("first", "second", "third")):
        promote(evaluated_run(store, name, 40.0 + 10 * number).uri)


@pytest.fixture
def store(mlflow_store: Path) -> Path:
    three_champions(mlflow_store)
    return mlflow_store


def test_back_to_the_one_before(store: Path) -> None:
    back = rollback("it sees ghosts")
    assert (back.entry, back.to, back.version, back.mirrored, back.exit_code) == (4, 2, 2, True, 0)
    assert champion() == 2 and resolve_model("models:/aunet@champion") == str(store / "runs/second/model")
    head = Store.here().ledger("aunet").entries()[-1]
    assert (head.action, head.target, head.previous, head.why) == ("rollback", 2, 3, "it sees ghosts")
    assert head.figures == {"PQ": 50.0}
    tags = {n: client().get_model_version("aunet", str(n)).tags for n in (2, 3)}
    assert (tags[2]["decision"], tags[2]["reason"], tags[2]["ledger_entry"]) == ("promoted", "it sees ghosts", "4")
    assert (tags[3]["decision"], tags[3]["reason"]) == ("rolled back", "it sees ghosts")


def test_further_back_and_to_a_number(store: Path) -> None:
    rollback("first step")
    assert rollback("second step").to == 1 and champion() == 1
    with pytest.raises(InputError, match="aunet: no other model was champion before; name an entry with --to"):
        rollback("third step")
    assert rollback("forward", to=3).version == 3 and champion() == 3
    assert rollback("to what a rollback chose", to=4).to == 2 and champion() == 2


@pytest.mark.parametrize("to", [0, 4, -1])
def test_an_entry_that_is_not_there_is_named(store: Path, to: int) -> None:
    with pytest.raises(InputError, match=rf"--to {to}: no such entry; there are 1 … 3, see `ledger aunet`"):
        rollback("why not", to=to)


def test_what_is_champion_already_is_named(store: Path) -> None:
    with pytest.raises(InputError, match="the model of entry 3 is champion already, by entry 3"):
        rollback("why not", to=3)


def test_without_a_ledger_there_is_nothing_to_go_back_to(mlflow_store: Path) -> None:
    with pytest.raises(InputError, match="0 ledgers; name a registered model; the first `register` begins one"):
        rollback("why not")
    with pytest.raises(InputError, match="aunet: no ledger in this store"):
        rollback("why not", "aunet")


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_model_that_is_not_what_it_was_does_not_become_champion(store: Path, damage: str) -> None:
    folder = store / "runs/second/model"
    if damage == "gone":
        shutil.rmtree(folder)
    else:
        (folder / "model.safetensors").write_text("other weights")
        write_hashes(folder)
    with pytest.raises(InputError, match=r"entry 2 of .*second/model is not the model that it was .*another entry"):
        rollback("it sees ghosts")
    assert champion() == 3 and len(Store.here().ledger("aunet").entries()) == 3
    assert rollback("it sees ghosts", to=1).version == 1


def test_what_was_left_comes_back_by_force_alone(store: Path) -> None:
    rollback("it sees ghosts")
    held = promote("models:/aunet/3")
    assert (
        held.exit_code == 3 and "version 3 was rolled back from by " in held.reason and "it sees ghosts" in held.reason
    )
    assert promote("models:/aunet/3", force=True, why="no ghosts").exit_code == 0 and champion() == 3
    rollback("ghosts again")
    assert promote(evaluated_run(store, "fourth", 90.0).uri).exit_code == 0


def test_without_mlflow_the_entry_stands(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        back = rollback("it sees ghosts", "aunet", patience=2.0)
    assert (back.entry, back.version, back.mirrored, back.exit_code) == (4, 2, False, 2)
    assert champion() == 3
    with pytest.raises(InputError, match=r"the alias is version 3 .*by entry 4 .*version 2 .*`ledger aunet --rec"):
        resolve_model("models:/aunet@champion")
    assert ledger("aunet", reconcile=True).repaired and champion() == 2
    assert resolve_model("models:/aunet@champion") == str(store / "runs/second/model")


def test_the_command_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollback"], io.StringIO()) == 2
    assert "rollback: --why is missing" in capsys.readouterr().err
    out = io.StringIO()
    assert main(["rollback", "aunet", "--to", "1", "--why", "ghosts"], out) == 0
    assert json.loads(out.getvalue().splitlines()[-1])["version"] == 1 and champion() == 1
    assert "rollback aunet: champion is version 1 again, by entry 4 (before: version 3)" in capsys.readouterr().err


def test_a_rollback_may_end_anywhere(tmp_path: Path, mlflow_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashes = 0
    while True:
        store = tmp_path / f"store-{crashes}"
        store.mkdir()
        shutil.copy(mlflow_file, store)
        monkeypatch.setenv("AUNET_STORE", str(store))
        three_champions(store)
        with monkeypatch.context() as patch:
            crash_before(patch, crashes + 1)
            try:
                rollback("it sees ghosts", patience=1e6)
                break
            except Crash:
                crashes += 1
        committed = len(Store.here().ledger("aunet").entries()) == 4
        assert ledger("aunet", reconcile=True).exit_code == 0
        assert champion() == (2 if committed else 3), f"write {crashes}"
        assert ledger("aunet").differences == ()
        if not committed:
            assert rollback("it sees ghosts").to == 2
        assert len(Store.here().ledger("aunet").entries()) == 4 and champion() == 2
    assert crashes >= 4
