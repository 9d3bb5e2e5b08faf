"""ADE20K's tables where they are not as distributed."""

from __future__ import annotations

from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.import_data import import_data
from tests.importers.panoptic_writers import write_ade20k
from tests.importers.scenes import generated


@pytest.mark.parametrize("column", [0, 1])
def test_a_number_of_thousands_of_digits(column: int, tmp_path: Path) -> None:
    write_ade20k(generated(tmp_path / "original", 1), tmp_path / "in")
    path = tmp_path / "in/categoryMapping.txt"
    cells = ["1", "1", "name"]
    cells[column] = "9" * 5000
    path.write_text("\t".join(cells))
    with pytest.raises(InputError, match=r"categoryMapping\.txt: no line such as in the file as distributed"):
        import_data("ade20k", str(tmp_path / "out"), data=str(tmp_path / "in"))
    path.unlink()
    with pytest.raises(InputError, match=r"no categoryMapping\.txt; both challenges"):
        import_data("ade20k", str(tmp_path / "out"), data=str(tmp_path / "in"))
