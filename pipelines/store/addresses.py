"""Addresses that may hold credentials: what people are shown of them, and texts of others without them.

What is shown is put together from parts that are known to be harmless: scheme, host, port and path. A user or a value
of a query never is one of them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, quote_plus, unquote

from aunet.errors import InputError
from aunet.names import printable

HIDDEN = "***"
FILES = ("sqlite", "file")
"""Schemes of a file of this machine, whose path may hold any character."""
DATABASES = ("postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle")
"""Schemes whose user alone is no secret."""
SERVERS = ("http", "https", "ray", "s3", "gs", *DATABASES)
MIN_SECRET, MIN_NAMED_SECRET = 4, 6
"""Characters of a URI's password, and of a secret variable, from which on texts are searched for it: what is shorter is
a word of ordinary texts."""

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_OPAQUE = re.compile(r"(databricks(?:-uc)?|uc):(.*)", re.DOTALL | re.IGNORECASE)
_LOCATION = re.compile(
    r"(?P<host>[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?P<path>/.*)?", re.DOTALL
)
_REGISTERED = re.compile(r"models:/[^/@:]+[@/][^/@:]+")
_SECRET_NAME = re.compile(r"(?:SECRET|TOKEN|PASSW(?:OR)?D|PASSPHRASE|CREDENTIALS?|KEY|KEY_ID|PW|AUTH)$", re.IGNORECASE)

_URI_IN_TEXT = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*://[^\s"]+')
_AFTER_URI = "'`.,;:)]}>"
_USER_IN_TEXT = re.compile(r"(?<![^\s'\"(=,])(?!models:/)[^/\s@:'\"]+:(?!//)\S+@")
_OPAQUE_IN_TEXT = re.compile(r"(?<![\w-])(databricks(?:-uc)?|uc):[^\s'\",;]+", re.IGNORECASE)
_SECRET_WORD = r"(?:[\w-]*(?:password|passwd|pwd|token|secret|signature|credential|key)|sig|auth|X-Amz-[\w-]+)"
_VALUE = r"""(?:'[^']*'|"[^"]*"|[^\s&;,'"]+)"""
_ASSIGNED = re.compile(rf"(?<![\w/-])({_SECRET_WORD}=)({_VALUE})", re.IGNORECASE)
_MEMBER = re.compile(rf"""(['"]{_SECRET_WORD}['"]\s*:\s*)(?:'[^']*'|"[^"]*")""", re.IGNORECASE)
_HEADER = re.compile(r"\b(Authorization['\"]?\s*[:=]\s*['\"]?(?:\w+ )?)[^\s'\",]+", re.IGNORECASE)
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")


def shown(uri: str) -> str:
    """An address as people may see it: `https://***@host:5000/path`; a folder unchanged."""
    if match := _OPAQUE.fullmatch(uri):
        return f"{match[1].lower()}:{HIDDEN}"
    if not (match := _URI.fullmatch(uri)):
        is_path = uri.startswith(("/", ".")) or "@" not in uri or _REGISTERED.fullmatch(uri)
        return printable(_without_patterns(uri, _is_hidden_in_part)) if is_path else _without_user(uri)
    scheme, kind, location, query = match[1], _kind(match[1]), *_split_query(match[2])
    if kind not in (*FILES, *SERVERS) or (kind not in FILES and "@" in query):  # a password with "?" looks the same
        return f"{scheme}://{HIDDEN}"
    as_it_is = location.startswith("/") if kind in FILES else kind == "s3" and _is_bucket(location)
    return f"{scheme}://{printable(location) if as_it_is else _without_user(location)}{query and f'?{HIDDEN}'}"


def masked(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """`text` without the credentials in it: those of `environment`, and whatever looks like one."""
    for secret, replacement in sorted(_known(environment), key=lambda pair: len(pair[0]), reverse=True):
        text = text.replace(secret, replacement)
    return _without_patterns(text, _is_hidden_in_part)


def holds_credentials(text: str) -> bool:
    """Whether there are credentials in `text`: in a URI, or beside a word such as `password=`."""
    return _without_patterns(text, _has_secret_user) != text


def user_info(uri: str) -> str | None:
    """What stands before the `@` of a URI's host, as it is written; None: nothing."""
    if not (match := _URI.fullmatch(uri)):
        return None
    kind, (location, query) = _kind(match[1]), _split_query(match[2])
    if (kind in FILES and location.startswith("/")) or (kind == "s3" and _is_bucket(location)):
        return None
    return (match[2] if "@" in query else location).rpartition("@")[0] or None


def without_user(uri: str) -> str:
    """A URI without what stands before the `@` of its host."""
    user = user_info(uri)
    return uri if user is None else uri.replace(f"{user}@", "", 1)


class Location(NamedTuple):
    """Where a URI points to on the network."""

    host: str
    """Empty: the URI names none."""
    port: int | None
    path: str
    """With the `/` before it."""


def location_of(uri: str) -> Location:
    """Host, port and path of a URI.

    Raises:
        ValueError: one of them cannot be one, or `%` is not followed by two hex digits; the message has the cure.
    """
    rest = uri.partition("://")[2]
    match = _LOCATION.fullmatch(_split_query(rest)[0].rpartition("@")[2])
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 0 < port < 65536):
        raise ValueError("its host or port is not one; write @ : / ? # and % of a password as %40 %3A %2F %3F %23 %25")
    if re.search(r"%(?![0-9A-Fa-f]{2})", rest):
        raise ValueError("% without two hex digits after it; write % as %25")
    return Location(match["host"].strip("[]"), port, match["path"] or "")


def check_server(name: str, uri: str) -> str:
    """`uri`, which is the address of an HTTP server and nothing more.

    Args:
        name: of the variable that holds it, for messages.

    Raises:
        InputError: it is something else, or holds credentials; these are not repeated.
    """
    cure = f"give {name}=http://HOST:PORT, and leave credentials to the variables that are for them"
    if user_info(uri) is not None or holds_credentials(uri):
        raise InputError(f"{name}: holds credentials, which are not shown here; {cure}")
    try:
        host = location_of(uri).host
    except ValueError as error:
        raise InputError(f"{name} = {shown(uri)!r}: {error}; {cure}") from None
    if not host or not uri.startswith(("http://", "https://")) or _split_query(uri)[1]:
        raise InputError(f"{name} = {shown(uri)!r}: not the address of a server; {cure}")
    return uri


def _kind(scheme: str) -> str:
    """The scheme without the driver that SQLAlchemy has in it."""
    return scheme.partition("+")[0].lower()


def _is_bucket(location: str) -> bool:
    """Whether a bucket comes first: keys of S3 may hold `@`, names of buckets hold neither `@` nor `:`."""
    return not {"@", ":"} & set(location.partition("/")[0])


def _split_query(rest: str) -> tuple[str, str]:
    """What stands before a query or fragment, and that with its `?` or `#`."""
    end = re.search(r"[?#]", rest)
    return (rest[: end.start()], rest[end.start() :]) if end else (rest, "")


def _without_user(location: str) -> str:
    """Host, port and path. What stands before the last `@` is hidden: a password may hold any character."""
    _, at, rest = location.rpartition("@")
    return f"{HIDDEN if at else ''}{at}{printable(rest) if _LOCATION.fullmatch(rest) else HIDDEN}"


def _is_hidden_in_part(uri: str) -> bool:
    return shown(uri) != printable(uri)


def _has_secret_user(uri: str) -> bool:
    """Whether a URI names a password, or a token in place of a user."""
    user, scheme = user_info(uri), uri.partition("://")[0]
    return user is not None and (_kind(scheme) not in DATABASES or ":" in user)


def _known(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every address and every secret of an environment, in all forms in which libraries write it, and its mask."""
    for name, value in environment.items():
        opaque, without_scheme = _OPAQUE.fullmatch(value), _USER_IN_TEXT.match(value)
        if not (opaque or without_scheme or _URI.fullmatch(value)):
            if _SECRET_NAME.search(name) and len(value) >= MIN_NAMED_SECRET:
                yield from ((form, HIDDEN) for form in _forms(value))
            continue
        if _is_hidden_in_part(value):
            yield value, shown(value)
        secrets = [match[2].strip("'\"") for match in _ASSIGNED.finditer(value)]
        if opaque:
            secrets.append(opaque[2])
        elif without_scheme:
            secrets.append(without_scheme[0].partition(":")[2].removesuffix("@"))
        elif _has_secret_user(value):
            user = user_info(value) or ""
            secrets.append(user.partition(":")[2] or user)
        # A library that ends the password elsewhere repeats the rest of it as a host, a port or a path.
        pieces = {piece for secret in secrets for piece in (secret, *re.split(r"[@:/?#]", secret))}
        yield from ((form, HIDDEN) for piece in pieces for form in _forms(piece) if len(form) >= MIN_SECRET)


def _forms(secret: str) -> set[str]:
    forms = {secret, unquote(secret)}
    forms |= {quoted(form, safe="") for form in list(forms) for quoted in (quote, quote_plus)} | {quote(secret)}
    return forms | {json.dumps(form)[1:-1] for form in forms}


def _without_patterns(text: str, hidden: Callable[[str], bool]) -> str:
    """`text` without what looks like a credential; `hidden` says which URIs are shown in part only."""

    def uri_shown(match: re.Match[str]) -> str:
        uri = match[0].rstrip(_AFTER_URI)
        return (shown(uri) if hidden(uri) else uri) + match[0][len(uri) :]

    text = _OPAQUE_IN_TEXT.sub(rf"\1:{HIDDEN}", _URI_IN_TEXT.sub(uri_shown, text))
    text = _ASSIGNED.sub(rf"\1{HIDDEN}", _USER_IN_TEXT.sub(f"{HIDDEN}@", text))
    text = _MEMBER.sub(rf"\1'{HIDDEN}'", text)
    return _KEY_ID.sub(HIDDEN, _HEADER.sub(rf"\1{HIDDEN}", text))
