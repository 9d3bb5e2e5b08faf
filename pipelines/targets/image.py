"""Names of container images: which of them always mean the same image."""

from __future__ import annotations

import re

DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
TAG = re.compile(r":([A-Za-z0-9_][A-Za-z0-9._-]{0,127})$")
CURE = "name a version or a digest, such as registry.example.com/aunet:1.0.0"


def image_problem(name: str) -> str | None:
    """Why nodes that start at different times could run different code under this name; None: they could not."""
    if DIGEST.search(name):
        return None
    tag = TAG.search(name)
    if not name or tag is None or "/" in tag[1]:
        return f"{name or 'none'}: no version, so nodes could run different code; {CURE}"
    if tag[1] == "latest":
        return f"{name}: `latest` is another image tomorrow, and nodes could run different code; {CURE}"
    return None
