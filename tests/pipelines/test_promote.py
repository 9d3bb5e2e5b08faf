"""Promoting by hand: through the gate, and by force with a reason; and a promotion that ends anywhere."""

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
from pipelines.promote import Promotion, promote as promote_rehearsed
from pipelines.store.layout import Store
from pipelines.tracking.registry import alias_holder, resolve_model
from tests.promotions import Crash, crash_before, evaluated_run, no_rehearsal

promote = partial(promote_rehearsed, rehearse=no_rehearsal)


def champion() -> int | None:
    holder = alias_holder("aunet", "champion")
    return holder.number if holder else None


def test_the_gate_decides(mlflow_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = promote(evaluated_run(mlflow_store, "first", 40.0).uri)
    assert (first.version, first.alias, first.verdict, first.entry, first.exit_code) == (1, "champion", "PROMOTE", 1, 0)
    worse = promote(evaluated_run(mlflow_store, "worse", 30.0).uri, why="Anna wants it")
    assert (worse.version, worse.alias, worse.verdict, worse.entry, worse.exit_code) == (2, None, "HOLD", None, 3)
    assert "promote aunet: HOLD: champion stays with version 1: version 2 has PQ 30.00" in capsys.readouterr().err
    better = promote(evaluated_run(mlflow_store, "better", 50.0).model_uri, why="more data")
    assert (better.version, better.entry, champion()) == (3, 2, 3)
    assert better.reason.startswith("champion moves to version 3: PQ 50.00") and better.reason.endswith("(more data)")
    again = promote("models:/aunet/3")
    assert (again.entry, again.verdict, again.reason) == (2, "", better.reason)
    assert len(Store.here().ledger("aunet").entries()) == 2


def test_force_needs_a_reason_and_is_recorded(mlflow_store: Path) -> None:
    promote(evaluated_run(mlflow_store, "first", 40.0).uri)
    worse = evaluated_run(mlflow_store, "worse", 30.0).uri
    with pytest.raises(InputError, match="--force needs --why"):
        promote(worse, force=True)
    promote(worse)
    forced = promote("models:/aunet/2", force=True, why="the first sees ghosts")
    assert (forced.alias, forced.verdict, champion()) == ("champion", "HOLD", 2)
    head = Store.here().ledger("aunet").head()
    assert head is not None and (head.action, head.verdict) == ("force", "HOLD")
    assert "by force: the first sees ghosts (the gate: HOLD: PQ 30.00" in head.why
    assert head.gate["verdict"] == "HOLD"


def test_settings_of_the_run_decide(mlflow_store: Path) -> None:
    promote(evaluated_run(mlflow_store, "first", 40.0).uri)
    held = promote(evaluated_run(mlflow_store, "strict", 45.0, **{"register.margin": 20.0}).uri)
    assert held.verdict == "HOLD" and "with margin 20" in held.reason


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models:/aunet/7", r"models:/aunet/7: no such version at .*; run `register` for its run first"),
        ("models:/aunet@best", "models:/aunet@best: no such version"),
        ("models:/aunet", "give models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("nowhere", "nowhere: no run and no model of a run; give models:/NAME/VERSION, or the URI of a finished run"),
        ("ftp://host/run", "unknown scheme"),
    ],
)
def test_what_is_no_model_is_one_line(mlflow_store: Path, model: str, message: str) -> None:
    promote(evaluated_run(mlflow_store, "first", 40.0).uri)
    with pytest.raises(InputError, match=message):
        promote(model)


def test_a_run_without_report_is_one_line(mlflow_store: Path) -> None:
    run = evaluated_run(mlflow_store, "first", 40.0)
    Path(run.report().document_uri).unlink()
    with pytest.raises(InputError, match=r"report\.json: no report; run `evaluate` on this run first"):
        promote(run.uri)


def test_the_command_line_exits_with_3_where_the_gate_holds(mlflow_store: Path) -> None:
    promote(evaluated_run(mlflow_store, "first", 40.0).uri)
    worse, out = evaluated_run(mlflow_store, "worse", 30.0).uri, io.StringIO()
    assert main(["promote", worse, "--why", "a try"], out, function=promote) == 3
    assert json.loads(out.getvalue().splitlines()[-1])["verdict"] == "HOLD"


def test_a_promotion_may_end_anywhere(tmp_path: Path, mlflow_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it did last: the same again, or `ledger --reconcile`, brings ledger, alias and tags to one end."""
    crashes = 0
    while True:
        store = tmp_path / f"store-{crashes}"
        store.mkdir()
        shutil.copy(mlflow_file, store)
        monkeypatch.setenv("AUNET_STORE", str(store))
        promote(evaluated_run(store, "first", 40.0).uri)
        second = evaluated_run(store, "second", 50.0).uri
        with monkeypatch.context() as patch:
            crash_before(patch, crashes + 1)
            try:
                promote(second)
                break
            except Crash:
                crashes += 1
        committed = len(Store.here().ledger("aunet").entries()) == 2
        if crashes % 2:
            state = ledger("aunet", reconcile=True)
            assert state.exit_code == 0 and champion() == (2 if committed else 1), f"write {crashes}"
        done: Promotion = promote(second)
        assert (done.alias, done.entry, champion()) == ("champion", 2, 2), f"write {crashes}"
        assert len(Store.here().ledger("aunet").entries()) == 2
        assert resolve_model("models:/aunet@champion") == str(store / "runs/second/model")
        assert ledger("aunet").differences == ()
    assert crashes >= 7
