"""The ledger: one entry after the other, whoever writes them, in a folder, on S3 and on Swift."""

from __future__ import annotations

import json
import os
import random
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from aunet.errors import InputError
from pipelines.store import s3, storage
from pipelines.store.layout import Store
from pipelines.store.ledger import MAX_TRIES, Ledger, LedgerEntry, Overtaken, author, rolled_back
from tests.promotions import check_race, contend, entry, race_processes, race_threads


@pytest.fixture(params=["folder", "s3"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    root = str(tmp_path / "root") if request.param == "folder" else request.getfixturevalue("s3")
    return Ledger(storage.join(root, "ledger/aunet"))


def test_entries_follow_each_other(ledger: Ledger) -> None:
    assert ledger.head() is None and ledger.entries() == []
    first = ledger.append(entry("a", 40.0), None)
    second = ledger.append(entry("b", 41.0, gate={"verdict": "PROMOTE"}, verdict="PROMOTE"), first)
    assert ledger.head() == second and ledger.entries() == [first, second]
    assert (second.number, second.previous, second.previous_sha256) == (2, 1, first.sha256)
    assert [file.path for file in storage.list_files(ledger.uri)] == ["000001.json", "000002.json"]
    plain = json.loads(storage.read_bytes(storage.join(ledger.uri, "000002.json")))
    assert plain == second.to_json() and "sha256" not in plain


def test_a_decision_against_another_head_is_overtaken(ledger: Ledger) -> None:
    first = ledger.append(entry("a"), None)
    ledger.append(entry("b"), first)
    for head in (None, first):
        with pytest.raises(Overtaken, match="was written by another"):
            ledger.append(entry("c"), head)
    assert [e.who for e in ledger.entries()] == ["a", "b"]


def test_whoever_is_overtaken_decides_again_against_the_new_head(ledger: Ledger) -> None:
    seen: list[float | None] = []

    def decide(head: LedgerEntry | None) -> LedgerEntry | None:
        seen.append(head.figures["PQ"] if head else None)
        if len(seen) == 1:
            contend(ledger, "faster", 50.0)
        return entry("slow", 45.0) if head is None or head.figures["PQ"] < 45.0 else None

    assert ledger.advance(decide) is None
    assert seen == [None, 50.0] and [e.who for e in ledger.entries()] == ["faster-50.0"]


def test_whoever_is_always_overtaken_gives_up(tmp_path: Path) -> None:
    ledger, tries = Ledger(str(tmp_path)), 0

    def decide(head: LedgerEntry | None) -> LedgerEntry:
        nonlocal tries
        tries += 1
        ledger.append(entry("faster"), head)
        return entry("slow")

    with pytest.raises(Overtaken):
        ledger.advance(decide)
    assert tries == MAX_TRIES


def test_a_listing_that_lags_behind_hides_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(str(tmp_path / "ledger"))
    contend(ledger, "a", 40.0, adds=3)
    late = Ledger(ledger.uri)
    first = [file for file in storage.list_files(ledger.uri) if file.path == "000001.json"]
    with monkeypatch.context() as patch:
        patch.setattr(storage, "list_files", lambda uri: first)
        head = late.head()
    assert head is not None and head.number == 3


@pytest.mark.parametrize("remote", [False, True], ids=["folder", "s3"])
def test_of_many_processes_none_makes_a_worse_model_champion(
    remote: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    _race(str(tmp_path) if not remote else request.getfixturevalue("s3"), 25 if remote else 150)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("remote", [False, True], ids=["folder", "s3"])
def test_of_a_thousand_races_none_makes_a_worse_model_champion(
    remote: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    _race(str(tmp_path) if not remote else request.getfixturevalue("s3"), 1000)


def _race(root: str, rounds: int) -> None:
    draw = random.Random(7)
    uris = [storage.join(root, "race", str(number)) for number in range(rounds)]
    models = [[draw.uniform(30, 60) for _ in range(draw.randint(2, 8))] for _ in uris]
    race_processes(uris, models)
    for uri, qualities in zip(uris, models, strict=True):
        check_race(uri, qualities)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_where_creation_is_not_atomic_none_makes_a_worse_model_champion(swift_bucket: str) -> None:
    """Swift lets several create one entry at one moment; many ledgers at once, since each waits."""
    draw = random.Random(7)
    uris = [storage.join(swift_bucket, "race", str(number)) for number in range(1000)]
    models = [[draw.uniform(30, 60) for _ in range(draw.randint(2, 8))] for _ in uris]
    race_threads(uris, models, at_once=24)
    for uri, qualities in zip(uris, models, strict=True):
        check_race(uri, qualities)


class Undecided:
    """A store that lets two create one file, as Swift does, with its clock."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.waits = 0
        self.answers: list[tuple[bytes, float]] = []
        patch.setattr(s3, "get_object", self.get)
        patch.setattr(s3.time, "sleep", lambda _: None)

    def get(self, uri: str, span: str = "") -> tuple[bytes, dict[str, Any]]:
        content, age = self.answers.pop(0)
        now = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
        headers = {"x-openstack-request-id": "1", "date": format_datetime(now, usegmt=True)}
        written = datetime.fromtimestamp(now.timestamp() - age, UTC)
        return content, {"LastModified": written, "ResponseMetadata": {"HTTPHeaders": headers}}


def test_an_entry_that_may_still_be_replaced_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Undecided(monkeypatch)
    store.answers = [(b"first", 0.0), (b"first", 1.0), (b"later", 0.0), (b"later", 2.0), (b"later", 3.0)]
    assert storage.read_settled("s3://bucket/000001.json") == b"later"
    store.answers = [(b"old", 100.0)]
    assert storage.read_settled("s3://bucket/000001.json") == b"old"


def test_a_rewritten_entry_is_noticed(ledger: Ledger) -> None:
    contend(ledger, "a", 40.0, adds=3)
    uri = storage.join(ledger.uri, "000002.json")
    plain = json.loads(storage.read_bytes(uri))
    storage.write_bytes(uri, json.dumps(plain | {"who": "somebody else"}).encode())
    with pytest.raises(InputError, match=r"000002\.json: not what entry 3 followed: one was rewritten; restore it"):
        ledger.entries()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "holds a list, not an object"),
        (b"{", "not JSON"),
        (b'{"action": "promote"}', "lacks model_uri"),
        (None, "is 1, so it is another entry's"),
        ({"model_sha256": "x"}, "model_sha256 = 'x': use 64 hex digits"),
        ({"version": 0}, r"entry\.version = 0"),
        ({"action": "delete"}, r"entry\.action = 'delete': use one of"),
        ({"figures": {"PQ": "40"}}, r"entry\.figures\.PQ = '40'"),
    ],
)
def test_a_damaged_entry_is_one_line_with_the_cure(tmp_path: Path, content: Any, message: str) -> None:
    ledger = Ledger(str(tmp_path))
    first = ledger.append(entry("a"), None)
    plain = ledger.append(entry("b"), first).to_json()
    path = tmp_path / "000002.json"
    if content is None:
        path.write_bytes((tmp_path / "000001.json").read_bytes())
    else:
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(plain | content).encode())
    for read in (ledger.head, ledger.entries):
        with pytest.raises(InputError, match=message) as caught:
            read()
        assert len(caught.value.problems) == 1 and "restore it; or, where it is the newest, delete it" in str(
            caught.value
        )
    path.unlink()
    assert ledger.head() == first


def test_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    plain = ledger.append(entry("a"), None).to_json()
    (tmp_path / "000001.json").write_text(json.dumps(plain | {"mood": "good"}))
    head = ledger.head()
    assert head is not None and head.who == "a"


def test_other_files_are_not_looked_at(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    first = ledger.append(entry("a"), None)
    for name in ("7.json", "000009.txt", "notes.json", ".000004.json.tmp"):
        (tmp_path / name).write_text("x")
    assert ledger.head() == first


def test_what_was_rolled_back_from_is_known_until_somebody_promotes_it_again() -> None:
    a, b = entry("a"), entry("b")
    back = entry("a", action="rollback", target=1)
    assert rolled_back([a, b]) == {}
    assert rolled_back([a, b, back]) == {b.model_sha256: back}
    assert rolled_back([a, b, back, entry("c")]) == {b.model_sha256: back}
    assert rolled_back([a, b, back, entry("b", action="force")]) == {}


def test_an_author_is_a_person_on_a_machine_or_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "anna")
    monkeypatch.setenv("LOGNAME", "anna")
    assert author() == f"anna@{os.uname().nodename}"
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"metadata": {"job_submission_id": "raysubmit_1"}}')
    assert author().endswith(", job raysubmit_1")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{")
    assert author() == f"anna@{os.uname().nodename}"


def test_every_model_and_alias_has_a_ledger_of_its_own(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert store.ledgers() == []
    store.ledger("aunet").append(entry("a"), None)
    store.ledger("aunet", "night").append(entry("b"), None)
    assert (tmp_path / "ledger/aunet/000001.json").exists() and (tmp_path / "ledger/aunet@night/000001.json").exists()
    assert store.ledgers() == [("aunet", "champion"), ("aunet", "night")]
    for name, alias in (("../x", "champion"), ("aunet", "../x"), ("a@b", "champion")):
        with pytest.raises(InputError, match="not a name"):
            store.ledger(name, alias)
