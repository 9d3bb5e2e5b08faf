"""Parts of an evaluation: whole or not there, and a damaged one is measured again."""

from __future__ import annotations

from pathlib import Path

import pytest

from aunet.errors import InputError
from pipelines.store import storage
from pipelines.store.run_folder import ReportFolder


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue(request.param)


def test_parts_are_written_read_and_deleted(root: str) -> None:
    parts = ReportFolder(root).parts("0123456789abcdef")
    assert parts.finished() == set() and ReportFolder(root).left_parts() == []
    for number in (0, 12, 1_234_567):
        parts.write(number, {"number": number, "iou": [0.1 + 0.2]})
    storage.write_bytes(f"{parts.uri}/notes.txt", b"not ours")
    assert parts.finished() == {0, 12, 1_234_567}
    assert parts.read(12) == {"number": 12, "iou": [0.1 + 0.2]}
    assert [left.name for left in ReportFolder(root).left_parts()] == ["0123456789abcdef"]
    parts.delete()
    assert parts.finished() == set()


@pytest.mark.parametrize("damage", [b"", b"not gzip", None])
def test_a_damaged_part_is_removed_and_measured_again(damage: bytes | None, tmp_path: Path) -> None:
    parts = ReportFolder(str(tmp_path)).parts("0123456789abcdef")
    parts.write(0, {})
    parts.write(1, {"iou": list(range(1000))})
    whole = Path(parts.file_uri(1)).read_bytes()
    Path(parts.file_uri(1)).write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(InputError, match=r"000001\.json\.gz: this part is damaged; run `evaluate`"):
        parts.read(1)
    assert parts.finished() == {0}
    with pytest.raises(InputError, match="this part is missing"):
        parts.read(1)
