"""What killed writers have sent to a bucket goes too."""

from __future__ import annotations

import time

import pytest

from pipelines.gc import gc
from pipelines.store import storage
from pipelines.store.in_use import in_use
from pipelines.store.layout import Store
from pipelines.store.uploads import unfinished_uploads
from tests.pipelines.store.test_uploads import begin_upload


@pytest.mark.parametrize("server", ["s3", "swift_bucket"])
def test_uploads_that_were_never_finished_are_aborted(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    """Those of this store, unless somebody writes their folder; no listing of files shows them."""
    root = request.getfixturevalue(server)
    monkeypatch.setenv("AUNET_STORE", root)
    Store.here().claim()
    shard, run = storage.join(root, "prepared/shards/x.parquet"), Store.here().run("one")
    storage.write_bytes(storage.join(run.uri, "events.jsonl"), b"")
    checkpoint, other = storage.join(run.uri, "checkpoints/1-a/state.pt"), f"{root}-of-others/x"
    for uri in (shard, checkpoint, other):
        begin_upload(uri)
    if server == "swift_bucket":  # moto says of all that they were begun in 2010
        assert gc().aborted == (), "they are young: somebody may be at work"
        time.sleep(1)  # Swift rounds up to the next second
    with in_use(run.in_use_uri):
        assert gc(dry_run=True, older_than_hours=0).aborted == (shard,)
        assert {upload.uri for upload in unfinished_uploads(root)} == {shard, checkpoint}
        result = gc(older_than_hours=0)
        assert result.to_json()["aborted"] == [shard] and result.num_bytes == 5
    assert [upload.uri for upload in unfinished_uploads(root)] == [checkpoint]
    assert gc(older_than_hours=0).aborted == (checkpoint,)
    assert [upload.uri for upload in unfinished_uploads(storage.parent(other))] == [other]
