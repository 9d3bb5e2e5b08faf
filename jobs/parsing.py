"""From the words of a command line to a verb and its options; every mistake becomes one `InputError`."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO, get_type_hints

import tyro

from aunet.errors import InputError
from jobs.verbs import VERBS, Verb, presets
from pipelines.overrides import flatten, override, read_overrides

PROGRAM = "python -m jobs"
OPERANDS = ("config", "verb", "preset")
"""Fields of a verb's options that stand before the options."""
SENDABLE = [verb.name for verb in VERBS.values() if verb.takes_preset and not verb.takes_verb]
"""Verbs that `submit` sends."""


class HelpShown(Exception):
    """The command line asked for help, which has been written."""


def parse(words: Sequence[str], out: TextIO) -> tuple[Verb, Any]:
    """Read `words` (without the program). Help goes to `out`.

    Raises:
        HelpShown: help was asked for and is written.
        InputError: a verb, preset, option or value is wrong.
    """
    if not words or words[0] in ("-h", "--help", "help"):
        out.write(_overview())
        if words:
            raise HelpShown
        raise InputError(f"no verb given; take one of {', '.join(VERBS)}")
    verb = VERBS.get(words[0])
    if verb is None:
        raise InputError(_unknown("verb", words[0], VERBS))
    rest = list(words[1:])
    if not verb.takes_preset:
        return verb, _options(verb, rest, f"{PROGRAM} {verb.name}", None, out)
    sent = [_operand("verb", rest, SENDABLE, verb, out)] if verb.takes_verb else []
    preset = _operand("preset", rest, presets(), verb, out)
    config = override(presets()[preset](), *_overrides(rest))
    default = verb.options(config=config, **({"verb": sent[0], "preset": preset} if sent else {}))
    return verb, _options(verb, _spelled_out(rest, verb), " ".join([PROGRAM, verb.name, *sent, preset]), default, out)


def _operand(kind: str, rest: list[str], known: Iterable[str], verb: Verb, out: TextIO) -> str:
    """Take the next word, one of `known`, off `rest`."""
    if rest and rest[0] in ("-h", "--help"):
        out.write(_verb_help(verb))
        raise HelpShown
    if not rest or rest[0].startswith("-"):
        raise InputError(f"{verb.name}: no {kind} given; take one of {', '.join(known)}")
    if rest[0] not in known:
        raise InputError(_unknown(kind, rest[0], known))
    return rest.pop(0)


def _spelled_out(words: list[str], verb: Verb) -> list[str]:
    """Switches of the verb itself, such as --dry-run, with the value that settings of a preset are given."""
    switches = {f"__{f.name}" for f in dataclasses.fields(verb.options) if f.default is False}
    spelled: list[str] = []
    for number, word in enumerate(words):
        spelled.append(word)
        if _plain(word) in switches and "".join(words[number + 1 : number + 2]).lower() not in ("true", "false"):
            spelled.append("True")
    return spelled


def _options(verb: Verb, words: list[str], prog: str, default: Any, out: TextIO) -> Any:
    """Let tyro read the options, and tell its complaints in one line each."""
    known = _option_names(verb, default)
    for word in words:
        option = word.split("=")[0]
        if option.startswith("--") and option != "--help" and _plain(option) not in map(_plain, known):
            raise InputError(_unknown("option", option, known) + f"; all options: {prog} --help")
    given = {_plain(word.split("=")[0]) for word in words}
    if default is None and not given & {"__help", "_h"}:
        if verb.positional and (not words or words[0].startswith("-")):
            raise InputError(f"{verb.name}: nothing named; give{verb.operands}")
        fields = [f for f in dataclasses.fields(verb.options) if f.name not in verb.positional]
        needed = [f"--{f.name.replace('_', '-')}" for f in fields if f.default is dataclasses.MISSING]
        if missing := [option for option in needed if _plain(option) not in given]:
            raise InputError(f"{verb.name}: {option} is missing; give all of {', '.join(needed)}" for option in missing)
    settings = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff) if default is not None else ()
    if default is not None:
        words = [re.sub(r"(^|=)(true|false)$", lambda m: m[1] + m[2].capitalize(), word) for word in words]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            return tyro.cli(
                verb.options, args=words, default=default, prog=prog, config=settings,
                description=f"{verb.name}: {verb.summary}", use_underscores=default is not None,
            )  # fmt: skip
    except SystemExit as exit:
        if not exit.code:
            raise HelpShown from None
        raise InputError(_one_line(said.getvalue(), prog)) from None


def _option_names(verb: Verb, default: Any) -> list[str]:
    names = [name for name in verb.options.__dataclass_fields__ if name not in (*OPERANDS, *verb.positional)]
    if default is None:
        return [f"--{name.replace('_', '-')}" for name in names]
    return [f"--{name}" for name in (*names, *flatten(default.config))]


def _plain(option: str) -> str:
    return option.replace("-", "_")


def _unknown(kind: str, word: str, known: Iterable[str]) -> str:
    names = list(known)
    last = word.lstrip("-").split(".")[-1]  # a setting named by its last word alone, or without its section
    close = [name for name in names if "." in name and name.split(".")[-1] == last]
    close = close or difflib.get_close_matches(word, names, 1)
    return f"unknown {kind} {word}; " + (
        f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names[:12])}"
    )


def _one_line(box: str, prog: str) -> str:
    """What a box of tyro says, up to its first rule, without the frame."""
    said: list[str] = []
    box = re.sub(r"\x1b\[[0-9;]*m", "", box)
    for line in box.splitlines()[1:]:
        line = line.strip("│╭╮╰╯ \t")
        if said and (not line or set(line) <= set("─-")):
            break
        said.append(line.strip("─-"))
    message = " ".join(said).strip()
    if message.startswith("Error parsing config"):  # a setting refused by its own dataclass, which said all there is
        return message.split(": ", 1)[1]
    return f"{message.rstrip('.')}; all options: {prog} --help"


def _overrides(words: list[str]) -> tuple[dict[str, Any], str]:
    """Content and place of the file that `--overrides` names among `words`."""
    place = ""
    for number, word in enumerate(words):
        if word == "--overrides":
            place = "".join(words[number + 1 : number + 2])
        elif word.startswith("--overrides="):
            place = word.split("=", 1)[1]
    return (read_overrides(place) if place else {}), place


def _overview() -> str:
    verbs = "".join(f"  {v.name + v.operands:20} {v.summary}\n" for v in VERBS.values())
    return (
        f"usage: {PROGRAM} VERB [PRESET] [--dotted.option value …]\n\nverbs:\n{verbs}\npresets:\n{_preset_lines()}\n"
        f"options of a verb: {PROGRAM} VERB [PRESET] --help\n"
        "The last line of stdout is one JSON object. Exit codes: 0 done, 2 wrong input, 3 refused, 1 anything else.\n"
    )


def _verb_help(verb: Verb) -> str:
    hints = get_type_hints(verb.options, include_extras=True)
    told = {name.replace("_", "-"): hint.__metadata__[0] for name, hint in hints.items() if name not in OPERANDS}
    extras = "".join(f"  {f'--{name} {about.metavar}':18} {about.help}\n" for name, about in told.items())
    return (
        f"usage: {PROGRAM} {verb.name}{verb.operands} [--dotted.option value …]\n\n{verb.summary}\n\n"
        f"presets:\n{_preset_lines()}\n"
        f"options:\n{extras}  and every setting of the preset: {PROGRAM} {verb.name}{verb.operands} --help\n"
    )


def _preset_lines() -> str:
    return "".join(
        f"  {name:18} {(inspect.getdoc(function) or '').partition(chr(10))[0]}\n"
        for name, function in presets().items()
    )
