"""Names and paths that come from outside: a name is one word, an inner path never leaves its folder."""

from __future__ import annotations

import re

from aunet.errors import InputError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What jobs, runs, presets, models and files of the store are called."""
MAX_PART = 255
"""Bytes of one part of a path that file systems accept."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def check_name(field: str, text: object) -> str:
    """`text`, which is a name.

    Args:
        field: what the name is of, for messages.

    Raises:
        InputError: it is empty, too long, or has other characters than letters, digits, `.`, `_` and `-`.
    """
    if isinstance(text, str) and NAME.fullmatch(text):
        return text
    shown = printable(repr(text)) if isinstance(text, str) else repr(text)
    raise InputError(
        f"{field} = {shown:.120}: not a name; use up to 128 letters, digits, '.', '_' and '-', a letter or digit first"
    )


def inner_path(path: str) -> str:
    """`path`, which stays below the folder that it is relative to.

    Raises:
        ValueError: it does not, or no file can be called so; the message says why and ends without a cure.
    """
    names = path.split("/")
    if not path or _UNPRINTABLE.search(path):
        raise ValueError(f"{printable(path)!r:.120} is empty, or has control characters or half a surrogate")
    if path.startswith("/") or ".." in names:
        raise ValueError(f"{path!r:.120} leaves its folder")
    if max(len(name.encode()) for name in names) > MAX_PART:
        raise ValueError(f"{path!r:.60}… has a part of more than {MAX_PART} bytes")
    return path


def printable(text: str) -> str:
    """`text` with what a terminal would obey, or could not show, as escapes."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
