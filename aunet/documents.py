"""JSON that comes from outside: read once, with limits, and never with numbers or texts that nothing else accepts."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from aunet.errors import InputError

MAX_BYTES = 4 * 2**30
"""Of a document: the largest annotation files have a tenth."""
_HALF_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(data: bytes | str, source_name: str) -> Any:
    """The value that a JSON document stands for.

    Args:
        data: the document, in UTF-8.
        source_name: what it is called in messages.

    Raises:
        InputError: it is not JSON, too large or too deep, holds NaN, an infinite or endless number, or a text that is
            not Unicode. The message has no cure: the caller knows who writes such documents.
    """
    content = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    if len(content) > MAX_BYTES:
        raise InputError(f"{source_name}: {len(content)} bytes of JSON, over {MAX_BYTES}")
    try:
        value = json.loads(content, parse_constant=_refuse, parse_float=_finite)
        if _HALF_SURROGATE.search(content):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError(f"{source_name}: not JSON that can be read: nested too deep") from None
    except ValueError as error:
        excerpt = f"{len(content)} bytes starting with {content[:12]!r}"
        raise InputError(f"{source_name}: not JSON ({_in_words(error)}; {excerpt})") from None
    return value


def read_object(data: bytes | str, source_name: str) -> dict[str, Any]:
    """The JSON object that a document holds.

    Raises:
        InputError: as for `read_json`, or it is something else than an object.
    """
    value = read_json(data, source_name)
    if not isinstance(value, dict):
        raise InputError(f"{source_name}: holds {type_of(value)}, not an object")
    return value


def type_of(value: object) -> str:
    """What a value is called in JSON."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number that is too large")
    return number


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number of JSON")


def decoder() -> json.JSONDecoder:
    """A decoder that accepts the numbers that `read_json` accepts; half a surrogate is the caller's to refuse."""
    return json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def has_half_surrogate(value: Any) -> bool:
    """Whether a text of a decoded value is not Unicode."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _in_words(error: ValueError) -> str:
    """The reason, without the value: a number of thousands of digits, or an endless text."""
    if isinstance(error, UnicodeDecodeError | UnicodeEncodeError):
        return f"a text that is not Unicode: {error.reason}"
    return str(error).partition(";")[0][:200]
