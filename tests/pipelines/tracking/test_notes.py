"""Texts that MLflow shows as Markdown: readable, short enough, and without markup of others."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from pipelines.tracking.notes import MAX_DESCRIPTION, class_figures, run_note, version_description

METRICS = {"PQ": 41.26, "SQ": 70.0, "RQ": 50.0, "PQ_th": 30.0, "AP": 12.0, "mIoU": 55.5}


def row(name: str, count: int = 3, category_id: int = 7) -> dict[str, Any]:
    figures = {"PQ": 50.0, "SQ": 60.0, "RQ": 70.0, "tp": count, "fp": 0, "fn": 0}
    return {"category_id": category_id, "name": name, "isthing": 1, **figures}


def test_a_version_shows_its_figures_and_how_to_load_it() -> None:
    text = version_description(
        uri="models:/aunet/3", metrics=METRICS, per_class=[row("car", 1), row("road", 9)], facts={"run": "shapes-1"}
    )
    assert "| all | 41.3 | 70.0 | 50.0 |" in text
    assert "| stuff | – | – | – |" in text
    assert "AP 12.0 · mIoU 55.5" in text
    assert text.index("| road |") < text.index("| car |"), "the more frequent first"
    assert 'resolve_model("models:/aunet/3")' in text


def test_a_kind_that_does_not_occur_is_a_dash() -> None:
    things, metrics = row("car"), METRICS | {"PQ_st": 0.0, "SQ_st": 0.0, "RQ_st": 0.0}
    text = version_description(uri="models:/aunet/3", metrics=metrics, per_class=[things], facts={})
    assert "| stuff | – | – | – |" in text and "AP 12.0 · mIoU 55.5" in text
    text = version_description(uri="models:/aunet/3", metrics=metrics, per_class=[things | {"isthing": 0}], facts={})
    assert "| stuff | 0.0 | 0.0 | 0.0 |" in text and "| things | – | – | – |" in text and "AP 12.0" not in text


@given(st.lists(st.text(min_size=1, max_size=200), max_size=200))
def test_whatever_classes_are_called_the_text_fits_and_stays_a_table(names: list[str]) -> None:
    text = version_description(uri="models:/a/1", metrics=METRICS, per_class=list(map(row, names)), facts={})
    assert len(text) <= MAX_DESCRIPTION
    assert "resolve_model" in text
    table = text.partition("| class |")[2].partition("Loading it")[0].splitlines()[2:]
    assert all(line.startswith("| ") and line.endswith(" |") for line in table if line)


def test_a_hostile_name_is_text() -> None:
    text = run_note({"run": "<script>x</script> [click](http://evil) `x` | y\n# head"})
    assert "<script>" not in text.replace("\\<", "")
    assert "](" not in text
    assert len(text.splitlines()) == 5


def test_figures_of_classes_have_names_that_mlflow_accepts() -> None:
    """Those that it does not accept stay distinct."""
    figures = class_figures([row("wall-brick"), row("道路", 3, 1), row("天空", 3, 2), row("never", 0)])
    assert figures == {"PQ/wall-brick": 50.0, "PQ/__ 1": 50.0, "PQ/__ 2": 50.0}
