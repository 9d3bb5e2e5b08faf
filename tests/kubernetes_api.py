"""A small Kubernetes API server: keeps objects, answers 201, 404 and 409, and lets a test play the operator."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

CONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "test",
    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    "users": [{"name": "test", "user": {"token": "a-test"}}],
}


class Api:
    """What the server holds, and the requests that reached it."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        """By path, such as /apis/ray.io/v1/namespaces/default/rayjobs/NAME."""
        self.asked: list[tuple[str, str]] = []
        """Method and path of every request."""
        self.refuse: dict[str, int] = {}
        """Status by method, for servers that refuse."""
        self.logs: dict[str, str] = {}
        """Of pods, by their name."""
        self.operator: Callable[[dict[str, Any]], None] = lambda rayjob: None
        """Called with a RayJob whenever it is read, as if time had passed."""
        self.admit: Callable[[dict[str, Any]], object] = lambda body: None
        """Called with an object before it is kept, as an API server that changes it."""
        self.lingering = 0
        """How often a deleted object is still found."""

    def answer(self, method: str, url: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query)
        self.asked.append((method, path))
        if method in self.refuse:
            return self.refuse[method], {"message": f"{method} is not for you"}
        if path.endswith("/log"):
            pod = path.split("/")[-2]
            return (200, self.logs[pod]) if pod in self.logs else (404, {"message": "no such pod"})
        if method == "POST":
            assert body is not None
            object_path = f"{path}/{body['metadata']['name']}"
            if object_path in self.objects:
                return 409, {"message": f"{object_path} already exists"}
            body["metadata"]["uid"] = f"u{len(self.asked)}"
            self.admit(body)
            self.objects[object_path] = body
            return 201, body
        if path.rsplit("/", 1)[-1] in ("pods", "cronjobs", "events"):
            return 200, {
                "items": [v for k, v in self.objects.items() if k.startswith(path + "/") and matches(v, query)]
            }
        if path not in self.objects:
            return 404, {"message": f"{path} not found"}
        if method == "DELETE":
            uid = self.objects[path]["metadata"]["uid"]
            if (body or {}).get("preconditions", {"uid": uid})["uid"] != uid:
                return 409, {"message": f"the UID in the precondition is not {uid}"}
            self.objects[path]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        if "deletionTimestamp" in self.objects[path]["metadata"]:
            self.lingering -= 1
            return 200, self.objects[path] if self.lingering >= 0 else self.objects.pop(path)
        if method == "PUT":
            self.objects[path] = body or {}
        if method == "PATCH":
            self.objects[path]["spec"].update((body or {})["spec"])
        if self.objects[path].get("kind") == "RayJob":
            self.operator(self.objects[path])
        return 200, self.objects[path]


def matches(thing: dict[str, Any], query: dict[str, list[str]]) -> bool:
    """Whether an object has the labels that a query asks for."""
    pairs = [pair.split("=") for pair in query.get("labelSelector", [])]
    return all(thing["metadata"].get("labels", {}).get(key) == value for key, value in pairs)


@contextmanager
def api_server(folder: Path, given: Api | None = None) -> Iterator[tuple[Api, str]]:
    """Run one, or the one that is given; yields it and the path of a kubeconfig that leads to it."""
    api = given or Api()

    class Handler(BaseHTTPRequestHandler):
        def serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, content = api.answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write((content if isinstance(content, str) else json.dumps(content)).encode())

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    cluster = {"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    config = folder / "kubeconfig"
    config.write_text(json.dumps({**CONFIG, "clusters": [cluster]}))
    try:
        yield api, str(config)
    finally:
        server.shutdown()
        server.server_close()
