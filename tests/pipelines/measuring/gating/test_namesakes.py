"""A model of other categories does not compete under a champion's name: nothing is registered, exit code 3."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path

import pytest

from aunet.categories import Categories, Category
from aunet.errors import Refused
from jobs.__main__ import main
from pipelines.measuring.gating.namesakes import categories_of, other_categories
from pipelines.plan import plan
from pipelines.presets import shapes_smoke
from pipelines.promote import promote as promote_rehearsed
from pipelines.run import run as run_all
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RegisterConfig
from pipelines.store.hashes import write_hashes
from pipelines.store.layout import Store
from pipelines.store.run_folder import RunFolder
from pipelines.tracking.registry import alias_holder
from tests.commands import tiny_changes
from tests.preparing import preprocess_here
from tests.promotions import ONE_CLASS, evaluated_run, no_rehearsal

promote = partial(promote_rehearsed, rehearse=no_rehearsal)
CATS = Categories((Category(id=1, name="cat", is_thing=True),))
SETTINGS = RegisterConfig(model_name="aunet")


def of(run: RunFolder, categories: Categories) -> RunFolder:
    """The run, its model with these categories."""
    folder = Path(run.model_uri)
    (folder / "config.json").write_text(json.dumps({"categories": categories.to_json()}))
    write_hashes(folder)
    return run


def test_another_subject_is_refused_before_anything_is_written(mlflow_store: Path) -> None:
    promote(of(evaluated_run(mlflow_store, "disks", 40.0), ONE_CLASS).uri)
    cats = of(evaluated_run(mlflow_store, "cats", 90.0), CATS)
    with pytest.raises(
        Refused, match=r"'aunet': its champion, version 1, knows other categories .*--register.model_name NAME"
    ):
        promote(cats.uri)
    holder = alias_holder("aunet", "champion")
    assert holder is not None and holder.number == 1 and len(Store.here().ledger("aunet").entries()) == 1
    forced = promote(cats.uri, force=True, why="cats from now on")
    assert (forced.version, forced.alias) == (2, "champion"), "the refused one became no version"
    assert other_categories(SETTINGS, CATS) is None and other_categories(SETTINGS, ONE_CLASS)


def test_the_same_subject_and_unknown_ones_are_left_to_the_gate(mlflow_store: Path) -> None:
    assert other_categories(SETTINGS, CATS) is None, "no champion"
    promote(evaluated_run(mlflow_store, "unknown", 40.0).uri)
    assert other_categories(SETTINGS, CATS) is None, "a champion that does not say what it knows"
    assert promote(of(evaluated_run(mlflow_store, "disks", 50.0), ONE_CLASS).uri).alias == "champion"
    assert promote(of(evaluated_run(mlflow_store, "more", 60.0), ONE_CLASS).uri).alias == "champion"
    assert other_categories(SETTINGS, None) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"categories": 1}', '{"categories": [1]}', '{"categories": []}'])
def test_a_damaged_model_has_no_known_categories(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert categories_of(str(tmp_path)) is None
    assert categories_of(str(tmp_path / "nowhere")) is None


def test_plan_and_run_refuse_before_the_training(mlflow_store: Path) -> None:
    promote(of(evaluated_run(mlflow_store, "cats", 40.0), CATS).uri)
    config = override(shapes_smoke(), {**tiny_changes(), "register.model_name": "aunet"})
    preprocess_here(config)
    (refusal,) = plan(config).refused
    assert "version 1, knows other categories" in refusal
    with pytest.raises(Refused, match="version 1, knows other categories"):
        run_all(config)
    assert [path.name for path in (mlflow_store / "runs").iterdir()] == ["cats"], "nothing was trained"
    assert plan(override(config, {"register.model_name": "aunet-own"})).refused == []


def test_the_command_line_exits_with_3(mlflow_store: Path) -> None:
    promote(of(evaluated_run(mlflow_store, "disks", 40.0), ONE_CLASS).uri)
    cats = of(evaluated_run(mlflow_store, "cats", 90.0), CATS)
    assert main(["promote", cats.uri], io.StringIO()) == 3
