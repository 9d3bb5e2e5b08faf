"""Reading prepared data where the system, not the data, is at fault."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from pipelines.data.shards import OpenShard, ShardReader
from pipelines.presets import shapes_smoke
from pipelines.settings.overrides import override
from tests.commands import tiny_changes
from tests.preparing import preprocess_here


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EMFILE])
def test_an_answer_of_the_system_is_no_damage(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A file server that forgot a file is no reason to delete a shard, and a reader may look again."""
    prepared = preprocess_here(override(shapes_smoke(), tiny_changes()))
    reader, read = ShardReader(prepared.uri, "train"), OpenShard.read

    def once(self: OpenShard, *arguments: Any) -> Any:
        monkeypatch.setattr(OpenShard, "read", read)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(OpenShard, "read", once)
    with pytest.raises(OSError, match=os.strerror(number)):
        reader.row(0)
    assert reader.row(0)["image_id"] == reader.image_ids[0]
