"""Reading from and writing to a bucket whose server fails: OpenStack Swift behind a proxy that injects faults.

    python benchmarks/storage_faults.py

Prints a table: for each fault rate and each operation of `pipelines.store.storage`, the outcomes of 200 calls from 8
threads. One fault in five is a response cut off, one a silence of a second, the others are 500, 503 and a reset.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet.errors import Unavailable
from pipelines.store import s3, storage
from tests import fault_proxy, swift

THREADS = 8
RATES = (0.0, 0.1, 0.3, 0.6)
BUCKET = "s3://faults"
SIZE = 100_000


class Row(NamedTuple):
    """The outcomes of the calls of one operation."""

    name: str
    right: int
    wrong: int
    given_up: int
    seconds: float


def content(number: int) -> bytes:
    """The content of file `number`."""
    return random.Random(number).randbytes(SIZE + number)


def exercise(endpoint: str, direct: str, folder_uri: str, count: int) -> list[Row]:
    """Read, list, open, write and create `count` times each at `endpoint`.

    Args:
        direct: the same server without faults, to create files and to check those that were written.
        folder_uri: folder below which all happens.
    """

    def at(address: str) -> None:
        os.environ["AWS_ENDPOINT_URL"] = address

    def uri(kind: str, number: int) -> str:
        return storage.join(folder_uri, kind, f"{number:05d}")

    def listed(_: int) -> bool:
        files = storage.list_files(storage.join(folder_uri, "source"))
        return [f.size for f in files] == [SIZE + n for n in range(count)]

    def span(number: int) -> bool:
        with storage.open_file(uri("source", number)) as file:
            file.seek(10)
            return file.read(SIZE // 2) == content(number)[10 : 10 + SIZE // 2]

    def wrong_ones(kind: str) -> int:
        folder = storage.join(folder_uri, kind)
        files = storage.list_files(folder) if storage.exists(folder) else []
        return sum(storage.read_bytes(uri(kind, int(f.path))) != content(int(f.path)) for f in files)

    kept = os.environ.get("AWS_ENDPOINT_URL", direct)
    at(direct)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda n: storage.write_bytes(uri("source", n), content(n)), range(count)))
    operations: dict[str, Callable[[int], bool]] = {
        "read_bytes": lambda n: storage.read_bytes(uri("source", n)) == content(n),
        "open_file": span,
        "exists": lambda n: storage.exists(uri("source", n)),
        "list_files": listed,
        "write_bytes": lambda n: storage.write_bytes(uri("write_bytes", n), content(n)) is None,
        "create_exclusive": lambda n: storage.create_exclusive(uri("create_exclusive", n), content(n)),
    }
    try:
        at(endpoint)
        rows = [_row(name, operation, count) for name, operation in operations.items()]
        at(direct)
        return [row._replace(wrong=row.wrong + wrong_ones(row.name)) for row in rows]
    finally:
        at(kept)


def _row(name: str, operation: Callable[[int], bool], count: int) -> Row:
    def attempt(number: int) -> bool | None:
        try:
            return operation(number)
        except Unavailable as error:
            print(error, file=sys.stderr)
            return None

    begun = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(attempt, range(count)))
    seconds = time.perf_counter() - begun
    return Row(name, outcomes.count(True), outcomes.count(False), outcomes.count(None), seconds)


def main(count: int = 200) -> None:
    import boto3

    s3.SETTLE_SECONDS = 0.1  # one creator for each file: there is nothing to wait for
    with tempfile.TemporaryDirectory() as folder, swift.serving(Path(folder)) as server:
        os.environ.update(server.environment)
        boto3.client("s3").create_bucket(Bucket=BUCKET.removeprefix("s3://"))
        print("| faults | injected | operation | calls | right | wrong | given up | seconds |")
        print("|---:|---|---|---:|---:|---:|---:|---:|")
        for rate in RATES:
            with fault_proxy.serving(server.endpoint, rate, stall=1.0) as proxy:
                rows = exercise(proxy.endpoint, server.endpoint, f"{BUCKET}/{rate}", count)
            failed = proxy.seen.total() - proxy.seen["passed"]
            for row in rows:
                shown = f"{failed} of {proxy.seen.total()}" if row is rows[0] else ""
                print(
                    f"| {rate:.0%} | {shown} | `{row.name}` | {count} | {row.right} | {row.wrong} | {row.given_up} "
                    f"| {row.seconds:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
