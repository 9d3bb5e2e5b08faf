"""ADE20K's tables where they are not as distributed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aunet.errors import InputError
from pipelines.import_data import ImportedData, import_data
from tests.importers.panoptic_writers import write_ade20k
from tests.importers.scenes import generated
from tests.importers.writers import png, put


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


ROWS = ["1\t0.1576\t11664\t1172\t{}wall", "8\t0.0231\t1906\t199\t{}bed ", "22 \t0.0074\t709\t75\t{}car, auto"]


def imported(folder: Path, rows: list[str], **options: Any) -> ImportedData:
    """One image: wall, a bed without an object, a car, and half of it nothing."""
    semantic = np.zeros((8, 10), dtype=np.uint8)
    semantic[:2], semantic[2:3], semantic[3:4] = 1, 8, 22
    put(folder / "in/images/training/a.png", png(np.zeros((8, 10, 3), dtype=np.uint8)))
    put(folder / "in/annotations/training/a.png", png(semantic))
    put(folder / "in/annotations_instance/training/a.png", png(np.zeros((8, 10, 3), dtype=np.uint8)))
    put(folder / "in/objectInfo150.txt", "\n".join(["Idx\tRatio\tTrain\tVal\tName", *rows]))
    put(folder / "in/categoryMapping.txt", "Instance100\tScene150\tName\n1\t8\tbed\n2\t22\tcar")
    return import_data("ade20k", str(folder / "out"), data=str(folder / "in"), workers=1, **options)


@pytest.mark.parametrize("stuff_column", ["", "0\t"])
def test_the_table_as_distributed_and_with_a_column_more(stuff_column: str, tmp_path: Path) -> None:
    result = imported(tmp_path, [row.format(stuff_column) for row in ROWS])
    assert [(c["id"], c["name"], c["isthing"]) for c in result.categories] == [
        (1, "wall", 0),
        (8, "bed", 1),
        (22, "car, auto", 1),
    ]
    assert result.segments == 3 and result.changed == {"things-without-instance": 2}


def test_the_background_is_what_the_semantic_mask_leaves_out(tmp_path: Path) -> None:
    result = imported(tmp_path, [row.format("") for row in ROWS], background="rest")
    assert result.segments == 4
    assert '"area": 40,' in (tmp_path / "out/annotations/panoptic_train.json").read_text()
