"""What may name a file or folder: a path, `file:///path` or `s3://bucket/key`. Every URI passes here once."""

from __future__ import annotations

import re

from aunet.errors import InputError
from aunet.names import inner_path, printable

CURE = "give a folder, file:///folder or s3://bucket/prefix"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_ONE_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")


def check_uri(uri: str) -> str:
    """`uri`, which names something that `storage` can reach.

    Raises:
        InputError: it is empty, of another scheme, incomplete or not printable, leaves its bucket, or holds
            credentials; these are not repeated.
    """
    scheme, separator, rest = uri.partition("://")
    authority, _, key = rest.partition("/")
    if separator and scheme not in ("file", "s3"):
        raise InputError(f"{printable(scheme):.20}://…: unknown scheme; {CURE}")
    if separator and (":" in authority or "@" in authority):
        raise InputError(
            f"{scheme}://…: holds credentials or a port (not shown); {CURE}, and leave credentials and server to "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
        )
    if not uri:
        raise InputError(f"'': an empty path (is a variable not set?); {CURE}")
    if printable(uri) != uri:
        raise InputError(f"{printable(uri):.200}: has control characters or is not UTF-8; rename it")
    if scheme == "file" and separator and not rest.startswith("/"):
        raise InputError(f"{uri:.200}: names no absolute path of this machine; {CURE}")
    if one_slash := _ONE_SLASH.match(uri):
        raise InputError(f"{one_slash[0]}…: has one slash after the scheme; {CURE}")
    if scheme == "s3" and separator:
        _check_key(uri, authority, key.removesuffix("/"))
    return uri


def _check_key(uri: str, bucket: str, key: str) -> None:
    if not _BUCKET.fullmatch(bucket):
        raise InputError(f"{uri:.200}: names no bucket; {CURE}")
    try:
        inner_path(key or bucket)
    except ValueError as error:
        raise InputError(f"{uri:.200}: the key {error}; {CURE}") from None
