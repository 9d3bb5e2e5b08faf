"""OpenStack Swift with its S3 API: a server that keeps objects in files and checks signatures (SigV4).

`serving` starts it in a process of its own: proxy, account, container and object server, one device, one replica, with
multipart uploads. Swift asks memcached for what it may keep in memory; a stand-in that speaks its protocol takes its
place. Everything is in the folder that the test owns.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ACCESS_KEY, SECRET_KEY, REGION = "test:tester", "testing", "us-east-1"
START_SECONDS = 120

STORAGE = """\
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
fallocate_reserve = 0
[app:main]
use = egg:swift#{kind}
"""
PROXY = """\
[DEFAULT]
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{cache_port}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {key} .admin
[filter:slo]
use = egg:swift#slo
"""


class Swift(NamedTuple):
    """A running server."""

    endpoint: str
    folder: Path
    """Objects are files below `devices`."""

    @property
    def environment(self) -> dict[str, str]:
        """What an AWS client reads."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
        }


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Swift]:
    """Swift in an empty folder, until the block ends."""
    log = folder / "swift.log"
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.swift", str(folder)], cwd=ROOT, stdout=errors, stderr=errors
        )
    port, end = folder / "port", time.monotonic() + START_SECONDS
    try:
        while not port.exists():
            assert process.poll() is None and time.monotonic() < end, f"Swift did not start\n{log.read_text()[-3000:]}"
            time.sleep(0.05)
        yield Swift(f"http://127.0.0.1:{port.read_text()}", folder)
    finally:
        process.kill()
        process.wait()


def _main(folder: Path) -> None:
    from swift.common import utils

    utils.eventlet_monkey_patch()
    import eventlet
    from eventlet import wsgi
    from swift.common.http_protocol import SwiftHttpProtocol
    from swift.common.wsgi import loadapp

    def listener() -> Any:
        return eventlet.listen(("127.0.0.1", 0))

    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = suffix\nswift_hash_path_prefix = prefix\n"
        "[storage-policy:0]\nname = gold\ndefault = yes\n"
    )
    (folder / "devices" / "disk").mkdir(parents=True)
    utils.set_swift_dir(str(folder))
    sockets = {kind: listener() for kind in ("account", "container", "object", "proxy", "cache")}
    eventlet.spawn(eventlet.serve, sockets["cache"], _Cache().talk)
    account, _, user = ACCESS_KEY.partition(":")
    for kind in ("account", "container", "object", "proxy"):
        if kind != "proxy":
            _write_ring(folder, kind, sockets[kind].getsockname()[1])
        config = folder / f"{kind}-server.conf"
        config.write_text(
            (PROXY if kind == "proxy" else STORAGE).format(
                folder=folder,
                kind=kind,
                region=REGION,
                account=account,
                user=user,
                key=SECRET_KEY,
                cache_port=sockets["cache"].getsockname()[1],
            )
        )
        eventlet.spawn(
            wsgi.server,
            sockets[kind],
            loadapp(str(config)),
            utils.NullLogger(),
            protocol=SwiftHttpProtocol,
            capitalize_response_headers=False,
        )
    ready = folder / "port.new"
    ready.write_text(str(sockets["proxy"].getsockname()[1]))
    ready.rename(folder / "port")
    eventlet.Event().wait()


def _write_ring(folder: Path, kind: str, port: int) -> None:
    from swift.common.ring import RingBuilder

    builder = RingBuilder(part_power=2, replicas=1, min_part_hours=0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


class _Cache:
    """What Swift asks of memcached, as greenlets of the server's process."""

    def __init__(self) -> None:
        self.kept: dict[bytes, tuple[bytes, bytes]] = {}
        """key → flags, value. Nothing expires: a test's server lives for minutes."""

    def talk(self, connection: Any, address: tuple[str, int]) -> None:
        with connection, connection.makefile("rwb") as stream:
            for line in stream:
                stream.write(self.answer(*line.split(), stream=stream) + b"\r\n")
                stream.flush()

    def answer(self, command: bytes, *words: bytes, stream: Any) -> bytes:
        key = words[0]
        if command in (b"set", b"add"):
            value = stream.read(int(words[3]) + 2)[:-2]
            if command == b"add" and key in self.kept:
                return b"NOT_STORED"
            self.kept[key] = words[1], value
            return b"STORED"
        if command == b"get":
            entries = [(key, *self.kept[key]) for key in words if key in self.kept]
            return b"".join(b"VALUE %b %b %d\r\n%b\r\n" % (k, f, len(v), v) for k, f, v in entries) + b"END"
        if command == b"delete":
            return b"DELETED" if self.kept.pop(key, None) else b"NOT_FOUND"
        if key not in self.kept:  # incr, decr
            return b"NOT_FOUND"
        change = int(words[1]) * (1 if command == b"incr" else -1)
        value = b"%d" % max(0, int(self.kept[key][1]) + change)
        self.kept[key] = self.kept[key][0], value
        return value


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
