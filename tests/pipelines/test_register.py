"""Registering evaluated runs: versions, the gate before the alias, and reports that are not there."""

import json
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines import presets
from pipelines.evaluate import find_report
from pipelines.register import register, update_figures
from pipelines.settings.overrides import override
from pipelines.store.artifacts import Report, TrainedRun
from pipelines.store.hashes import digest, write_hashes
from pipelines.tracking import runs as tracking
from pipelines.tracking.database import client
from pipelines.tracking.registry import alias_holder, resolve_model
from tests.canaries import CANARY, URIS, leaks

CONFIG = override(presets.shapes_smoke(), {"register.margin": 0.5, "register.model_name": "aunet"})


def make_model(folder: Path, weights: str = "weights") -> Path:
    """A folder that looks like a model's."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(weights)
    write_hashes(folder)
    return folder


pytestmark = pytest.mark.usefixtures("mlflow_store")


@pytest.fixture
def evaluated(tmp_path: Path) -> Any:
    """Makes a run with a report of the given PQ; returns the report."""

    def make(name: str, pq: Any, **changes: Any) -> Report:
        folder = tmp_path / "store/runs" / name
        make_model(folder / "model", name)
        report = {
            "metrics": {"PQ": pq, "PQ_th": 30.0, "AP": None},
            "per_class": [],
            "model_uri": str(folder / "model"),
            "mlflow_run_id": tracking.start_run(name, {}),
            "data_fingerprint": "abc",
            "val_fingerprint": "val1",
            **changes,
        }
        (folder / "report.json").write_text(json.dumps({key: v for key, v in report.items() if v is not None}))
        uri = str(folder / "report.json")
        return Report(uri=uri, fingerprint="", metrics={}, html_uri="", overlays_uri="")

    return make


def test_the_alias_moves_only_for_a_better_model(evaluated, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first = register(CONFIG, evaluated("first", 40.0))
    assert (first.uri, first.name, first.version, first.alias) == ("models:/aunet/1", "aunet", 1, "champion")
    assert first.fingerprint == "first"

    near = register(CONFIG, evaluated("near", 40.4))
    assert (near.version, near.alias) == (2, None)
    assert "champion stays with version 1" in capsys.readouterr().err
    assert resolve_model("models:/aunet@champion") == str(tmp_path / "store/runs/first/model")

    better = register(CONFIG, evaluated("better", 40.5))
    assert (better.version, better.alias) == (3, "champion")
    assert resolve_model("models:/aunet@champion") == str(tmp_path / "store/runs/better/model")
    assert resolve_model("models:/aunet/2") == str(tmp_path / "store/runs/near/model")


def test_twice_is_once(evaluated) -> None:
    report = evaluated("only", 40.0)
    assert register(CONFIG, report) == register(CONFIG, report)
    assert len(client().search_model_versions("name='aunet'")) == 1


def test_a_version_carries_its_figures_and_its_data(evaluated) -> None:
    register(CONFIG, evaluated("only", 40.0))
    (version,) = client().search_model_versions("name='aunet'")
    assert version.tags == {
        "PQ": "40.0000",
        "PQ_th": "30.0000",
        "data_fingerprint": "abc",
        "val_fingerprint": "val1",
        "model_sha256": digest(str(version.source)),
        "decision": "promoted",
        "reason": "champion is version 1 with PQ 40.00; nobody held it before",
    }


def test_figures_of_other_validation_data_are_not_compared(evaluated, tmp_path: Path) -> None:
    register(CONFIG, evaluated("first", 40.0))
    other = evaluated("other", 90.0, val_fingerprint="val2")
    held = register(CONFIG, other)
    assert (held.version, held.alias) == (2, None)
    for words in ("stays with version 1", "PQ 40.00 is of validation data val1", "PQ 90.00 of version 2 of val2"):
        assert words in held.reason

    champion = alias_holder("aunet", "champion")
    assert champion is not None
    update_figures(champion, evaluated("again", 41.0, val_fingerprint="val2", model_uri=champion.model_uri))
    model = register(CONFIG, other)
    assert model.alias == "champion"
    assert model.reason == "champion moves to version 2: PQ 90.00 against version 1's 41.00 with margin 0.5"
    tags = client().get_model_version("aunet", "2").tags
    assert (tags["decision"], tags["reason"]) == ("promoted", model.reason)


def test_a_holder_without_known_validation_data_is_not_compared(evaluated) -> None:
    register(CONFIG, evaluated("first", 40.0))
    client().delete_model_version_tag("aunet", "1", "val_fingerprint")
    assert register(CONFIG, evaluated("better", 90.0)).alias is None


def test_what_was_decided_is_reported_again(evaluated, capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluated("only", 40.0)
    first, again = register(CONFIG, report), register(CONFIG, report)
    assert again == first
    assert f"register aunet: champion is version 1, as before: {first.reason}" in capsys.readouterr().err


def test_nobody_holds_an_alias_of_a_model_that_is_not_there(evaluated) -> None:
    assert alias_holder("aunet", "champion") is None
    register(CONFIG, evaluated("only", 40.0))
    assert alias_holder("aunet", "best") is None


def test_unknown_versions_and_aliases_are_named(evaluated) -> None:
    register(CONFIG, evaluated("only", 40.0))
    for uri in ("models:/aunet/7", "models:/aunet@best"):
        with pytest.raises(InputError, match=r"there are versions 1 and aunet@champion"):
            resolve_model(uri)


def test_a_run_without_report_is_refused(tmp_path: Path) -> None:
    uri = str(tmp_path / "nowhere")
    run = TrainedRun(uri=uri, fingerprint="", model_uri="", mlflow_run_id="", steps=1)
    with pytest.raises(InputError, match=r"nowhere/report\.json: no report; run `evaluate` on this run first"):
        find_report(run)


@pytest.mark.parametrize(
    ("pq", "changes", "message"),
    [
        (float("nan"), {}, "NaN is not a number of JSON"),
        (True, {}, r"metrics\.PQ = True: give a value of type float; run `evaluate` again"),
        ("40", {}, r"metrics\.PQ = '40': give a value of type float"),
        (-1.0, {}, "PQ = -1.0"),
        (1e9, {}, "PQ = 1000000000.0"),
        (40.0, {"metrics": []}, r"metrics = \[\]: give an object"),
        (40.0, {"mlflow_run_id": 7}, "mlflow_run_id = 7: give a value of type str"),
        (40.0, {"val_fingerprint": ["x"]}, "val_fingerprint = "),
        (None, {"metrics": {}}, "PQ = None"),
        (
            40.0,
            {"model_uri": None, "data_fingerprint": None},
            "lacks model_uri, data_fingerprint; run `evaluate` again",
        ),
    ],
)
def test_a_bad_report_is_refused(evaluated, pq: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        register(CONFIG, evaluated("bad", pq, **changes))


def test_a_cut_report_is_refused(evaluated) -> None:
    report = evaluated("cut", 40.0)
    Path(report.uri).write_text(Path(report.uri).read_text()[:30])
    with pytest.raises(InputError, match=r"not JSON .*run `evaluate` again"):
        register(CONFIG, report)


@pytest.mark.parametrize("uri", [7, "../../etc", "model", "", "s3://", "ftp://host/model", "models:/aunet/1", "/etc"])
def test_a_model_uri_that_names_no_model_is_refused_before_anything_is_written(evaluated, uri: Any) -> None:
    with pytest.raises(InputError, match=r"model_uri = .*run `evaluate` again"):
        register(CONFIG, evaluated("bad", 40.0, model_uri=uri))
    assert client().search_registered_models() == []


def test_a_model_uri_of_null_is_refused(evaluated) -> None:
    report = evaluated("bad", 40.0)
    document = json.loads(Path(report.uri).read_text())
    Path(report.uri).write_text(json.dumps({**document, "model_uri": None}))
    with pytest.raises(InputError, match=r"model_uri = None: give a value of type str; run `evaluate` again"):
        register(CONFIG, report)


@pytest.mark.parametrize("shape", URIS)
def test_credentials_in_a_model_uri_are_not_repeated(evaluated, shape: str) -> None:
    with pytest.raises(InputError, match="model_uri = ") as refused:
        register(CONFIG, evaluated("bad", 40.0, model_uri=URIS[shape]))
    assert leaks(str(refused.value)) == []
    assert client().search_registered_models() == []


@pytest.mark.parametrize("damage", ["no list", "an empty list", "no weights in the list", "an unlisted file"])
def test_an_incomplete_model_folder_is_refused(evaluated, damage: str) -> None:
    report = evaluated("bad", 40.0)
    folder = Path(report.uri).parent / "model"
    if damage == "no list":
        (folder / "sha256.json").unlink()
    elif damage == "an unlisted file":
        (folder / "model.pt2").write_bytes(b"code")
    else:
        hashes = json.loads((folder / "sha256.json").read_text())
        (folder / "sha256.json").write_text(
            json.dumps({} if damage == "an empty list" else {"config.json": hashes["config.json"]})
        )
    with pytest.raises(InputError, match="model_uri = "):
        register(CONFIG, report)
    assert client().search_registered_models() == []


def test_whoever_changes_a_versions_source_does_not_choose_what_is_loaded(evaluated, tmp_path: Path) -> None:
    """A version of the registry's that points to another folder than the one that was registered."""
    register(CONFIG, evaluated("only", 40.0))
    (version,) = client().search_model_versions("name='aunet'")
    other = make_model(tmp_path / "other", "hostile")
    forged = client().create_model_version("aunet", str(other), version.run_id, tags=version.tags)
    client().set_registered_model_alias("aunet", "champion", forged.version)
    with pytest.raises(InputError, match="whose content is not what was registered"):
        resolve_model("models:/aunet@champion")
    bare = client().create_model_version("aunet", str(other), version.run_id)
    with pytest.raises(InputError, match="has no tag model_sha256; run `register` for it"):
        resolve_model(f"models:/aunet/{bare.version}")
    far = client().create_model_version("aunet", f"s3://me:{CANARY}@bucket/x", version.run_id, tags=version.tags)
    with pytest.raises(InputError) as refused:
        resolve_model(f"models:/aunet/{far.version}")
    assert leaks(str(refused.value)) == []
    assert resolve_model("models:/aunet/1") == version.source


def test_a_model_that_was_changed_after_it_was_registered_is_refused(evaluated) -> None:
    report = evaluated("only", 40.0)
    register(CONFIG, report)
    folder = Path(report.uri).parent / "model"
    (folder / "model.safetensors").write_text("other weights")
    write_hashes(folder)
    with pytest.raises(InputError, match="whose content is not what was registered"):
        resolve_model("models:/aunet@champion")
    with pytest.raises(InputError, match="its content is not what it was when it became version 1 of aunet"):
        register(CONFIG, report)
    champion = alias_holder("aunet", "champion")
    assert champion is not None
    with pytest.raises(InputError, match="its content is not what it was"):
        update_figures(champion, report)


def test_the_alias_stays_where_a_fence_says_so(evaluated) -> None:
    """A tick that was suspended until another has taken over."""

    def lost() -> None:
        raise RuntimeError("taken over")

    first = register(CONFIG, evaluated("first", 40.0))
    with pytest.raises(RuntimeError, match="taken over"):
        register(CONFIG, evaluated("better", 50.0), fence=lost)
    holder = alias_holder("aunet", "champion")
    assert holder is not None and holder.number == first.version == 1
    assert "decision" not in client().get_model_version("aunet", "2").tags
    assert register(CONFIG, evaluated("worse", 30.0), fence=lost).alias is None
    assert register(CONFIG, evaluated("best", 60.0), fence=lambda: None).alias == "champion"


@pytest.mark.parametrize("pq", ["nan", "inf", "a lot", None])
def test_a_holder_whose_pq_is_not_a_number_is_not_compared(evaluated, pq: str | None) -> None:
    first = evaluated("first", 40.0)
    register(CONFIG, first)
    if pq is None:
        client().delete_model_version_tag("aunet", "1", "PQ")
    else:
        client().set_model_version_tag("aunet", "1", "PQ", pq)
    better = evaluated("better", 90.0)
    held = register(CONFIG, better)
    assert held.alias is None and "is not a number; run `register` for its run again" in held.reason
    register(CONFIG, first)
    assert register(CONFIG, better).alias == "champion"
