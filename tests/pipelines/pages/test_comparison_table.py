"""The table of two models on a terminal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aunet.categories import Categories, Category
from aunet.evaluation.comparison import compare
from aunet.evaluation.outcomes import ImageCounts
from pipelines.pages.comparison_table import print_comparison


@pytest.mark.parametrize(("is_thing", "missing", "other"), [(True, "stuff", "things"), (False, "things", "stuff")])
def test_a_kind_that_the_data_do_not_have_is_a_dash(
    is_thing: bool, missing: str, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ones = np.ones((8, 1), np.int32)
    theirs = ImageCounts(np.arange(8), np.full((8, 1), 0.7), ones, 0 * ones, 0 * ones)
    categories = Categories((Category(id=1, name="own", is_thing=is_thing),))
    print_comparison(compare(replace(theirs, iou=theirs.iou + 0.1), theirs, categories), [])
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().err.splitlines()]
    assert [missing, "–", "–", "–"] in lines
    assert [line[1] for line in lines if line[:1] == [other]] == ["+10.0"]
