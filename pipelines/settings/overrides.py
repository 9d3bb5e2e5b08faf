"""Settings by dotted name, as the command line, Tune trials, override files and MLflow spell them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from aunet.errors import InputError
from pipelines.settings.run_config import RunConfig, from_json, to_json


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting of a configuration by its dotted name (`train.lr`)."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        flat |= flatten(value, f"{name}.") if dataclasses.is_dataclass(value) else {name: value}
    return flat


def override(config: RunConfig, changes: Mapping[str, Any], source_name: str = "overrides") -> RunConfig:
    """`config` with the settings named in `changes` replaced, validated anew.

    Args:
        changes: plain JSON values by dotted name.
        source_name: where the changes come from, for messages.

    Raises:
        InputError: a name does not exist, with the closest one that does, or a value is not allowed.
    """
    plain, known = to_json(config), flatten(config)
    sections = {name.rsplit(".", depth)[0] for name in known for depth in range(1, name.count(".") + 1)}
    for name, value in changes.items():
        if name not in known and not (name in sections and (value is None or isinstance(value, Mapping))):
            close = difflib.get_close_matches(name, known, 1)
            cure = f"did you mean {close[0]}?" if close else f"there are {', '.join(list(known)[:12])}, …"
            raise InputError(f"{source_name}: {name}: no such setting; {cure}")
        section, _, last = name.rpartition(".")
        settings = _section(plain, section)
        if settings is None:
            raise InputError(
                f"{source_name}: {name} = {value!r:.120}: {section} is null or no section; drop one of the two"
            )
        settings[last] = value
    return from_json(type(config), plain)


def _section(plain: Any, name: str) -> dict[str, Any] | None:
    """The settings of a section of a configuration in plain JSON; None: another change has replaced it."""
    for part_name in filter(None, name.split(".")):
        plain = plain.get(part_name) if isinstance(plain, dict) else None
    return plain if isinstance(plain, dict) else None


def differences(config: RunConfig, start: RunConfig) -> dict[str, Any]:
    """What turns `start` into `config`, by dotted name: `override(start, differences(config, start)) == config`.

    Values are plain JSON; a section that only one of the two has is given as a whole.
    """
    return dict(_differences(to_json(config), to_json(start), ""))


def _differences(new: Any, old: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(new, dict) and isinstance(old, dict) and new.keys() == old.keys():
        for key in new:
            yield from _differences(new[key], old[key], f"{name}.{key}" if name else key)
    elif new != old:
        yield name, new
