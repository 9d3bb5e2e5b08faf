"""An HTTP proxy before an S3 API server that fails requests as a busy server and a bad network do.

Whether the n-th attempt at one request fails, and how, follows from the seed and from what is asked: threads may come
in any order. Half of the requests that fail do arrive and only their answer is lost, as it happens in the world.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

KINDS = ("500", "503", "reset", "truncated", "stall")
HALF = "half"
"""One more kind: the connection ends in the middle of what the client sends. moto stores the half."""
ERRORS = {"400": "RequestTimeout", "403": "AccessDenied", "500": "InternalError", "503": "SlowDown"}
HOP = ("connection", "keep-alive", "transfer-encoding", "expect")
"""Headers between two neighbours, which are not handed on."""


class Answer(NamedTuple):
    """What a server answered: status with reason, headers, body."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def to_bytes(self, *, head_only: bool) -> bytes:
        headers = [f"{name}: {value}" for name, value in self.headers]
        if "content-length" not in {name.lower() for name, _ in self.headers}:
            headers.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join([f"HTTP/1.1 {self.status} {self.reason}", *headers, "", ""]).encode("latin1")
        return head if head_only else head + self.body


class FaultProxy(ThreadingHTTPServer):
    """The proxy, which `serving` starts.

    Args:
        upstream: address of the S3 API server.
        rate: 0 … 1, how many of the requests fail.
        kinds: of `KINDS` or `HALF`, each as likely as the others. A stalled request is answered, after `stall` seconds.
        seed: another one fails other requests.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, upstream: str, rate: float, kinds: tuple[str, ...] = KINDS, *, seed: int = 0, stall: float = 5.0
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.rate, self.kinds, self.seed, self.stall = upstream, rate, kinds, seed, stall
        self.seen: Counter[str] = Counter()
        """What became of the requests: how many `passed`, and how many failed of each kind."""
        self.over = threading.Event()
        self.asked: Counter[tuple[str, str]] = Counter()
        """How often each request came: method and path with query."""
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        """Address for AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def share(self) -> float:
        """How many of the requests so far were failed, 0 … 1."""
        return 1 - self.seen["passed"] / max(1, self.seen.total())

    def draw(self, method: str, path: str) -> tuple[str, bool]:
        """What becomes of a request, and whether it arrives."""
        with self._lock:
            self.asked[method, path] += 1
            dice = random.Random(f"{self.seed} {method} {path} {self.asked[method, path]}")
            kind = dice.choice(self.kinds) if dice.random() < self.rate else "passed"
            self.seen[kind] += 1
            return kind, kind in ("passed", "truncated", "stall", HALF) or dice.random() < 0.5

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is nothing to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def proxy(self) -> FaultProxy:
        assert isinstance(self.server, FaultProxy)
        return self.server

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self._body()
        kind, arrives = self.proxy.draw(self.command, self.path)
        if kind == "stall":
            self.proxy.over.wait(self.proxy.stall)
        answer = self._ask(body, half=kind == HALF) if arrives else None
        if kind in ERRORS:
            self._refuse(kind)
        elif answer is None or kind == "reset":
            self._reset()
        else:
            head_only = self.command == "HEAD"
            message = answer.to_bytes(head_only=head_only)
            # Half of the body is lost; where there is none, half of the headers.
            lost = (len(message) if head_only or not answer.body else len(answer.body) + 1) // 2
            cut = kind == "truncated"
            self.wfile.write(message[:-lost] if cut else message)
            self.close_connection = self.close_connection or cut

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size + 2)[:-2])
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _ask(self, body: bytes, *, half: bool) -> Answer | None:
        """Hand the request on as it came, or half of it: the `Host` that the client signed is kept."""
        connection = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in (*HOP, "content-length"):
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body[: len(body) // 2] if half else body)
            if half and body:
                return None
            answer = connection.getresponse()
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP]
            return Answer(answer.status, answer.reason, headers, answer.read())

    def _refuse(self, kind: str) -> None:
        body = f"<Error><Code>{ERRORS[kind]}</Code><Message>Injected fault.</Message></Error>".encode()
        answer = Answer(int(kind), "Injected", [("Content-Type", "application/xml")], body)
        self.wfile.write(answer.to_bytes(head_only=self.command == "HEAD"))

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


@contextlib.contextmanager
def serving(
    upstream: str, rate: float, kinds: tuple[str, ...] = KINDS, *, seed: int = 0, stall: float = 5.0
) -> Iterator[FaultProxy]:
    """A proxy before `upstream`, until the block ends."""
    with running(FaultProxy(upstream, rate, kinds, seed=seed, stall=stall)) as proxy:
        yield proxy


P = TypeVar("P", bound=FaultProxy)


@contextlib.contextmanager
def running(proxy: P) -> Iterator[P]:
    """Run a proxy until the block ends."""
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.over.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join()
