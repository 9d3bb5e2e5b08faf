"""From the words of a command line to a verb and its options; every mistake becomes a line of one `InputError`."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TextIO, cast, get_type_hints

from aunet.errors import InputError
from jobs.command_options import ADDRESSES, NOT_SENT, CommandJob, CommandOptions, of_the_job
from jobs.help import overview, verb_help
from jobs.importing_options import FORMATS
from jobs.options import Options
from jobs.overrides import read_overrides, source_name
from jobs.values import read_value, setting_types, takes_several
from jobs.verbs import VERBS, Verb
from pipelines.presets import PRESETS
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig, from_json, to_json

PROGRAM = "python -m jobs"
HELP = ("-h", "--help")
SENDABLE = [verb.name for verb in VERBS.values() if verb.has_preset and verb.name not in NOT_SENT]
"""Verbs that `submit` sends with a preset."""
CHOICES = {"verb": [*SENDABLE, *ADDRESSES], "preset": list(PRESETS), "format": list(FORMATS)}
"""What an operand may be, for those that are one of a few names."""
Given = dict[str, list[list[str]]]
"""The words of every option, for each time that it is given."""


class HelpShown(Exception):
    """The command line asked for help, which has been written."""


def parse(words: Sequence[str], out: TextIO, program: str = PROGRAM) -> tuple[Verb, Any]:
    """Read `words`, which follow the program's name. Help is written to `out`.

    Raises:
        HelpShown: help was asked for, and is written.
        InputError: a verb, preset, option or value is wrong.
    """
    if broken := [word for word in words if not _is_text(word)]:
        raise InputError(
            f"{word!r:.120}: not a text in UTF-8; rename the file, or write the word again" for word in broken
        )
    if not words or words[0] in (*HELP, "help"):
        out.write(overview(program, VERBS.values()))
        if words:
            raise HelpShown
        raise InputError(f"no verb given; choose one of {', '.join(VERBS)}")
    verb = VERBS.get(words[0])
    if verb is None:
        raise InputError(_unknown("verb", words[0], VERBS))
    names = verb.options.operands()
    if verb.name == "submit" and (sent := VERBS.get(words[1] if len(words) > 1 else "")) and sent.name not in SENDABLE:
        return _command(sent, list(words[2:]), out, program)
    operands = _operands(verb, names, words[1:])
    rest = list(words[1 + len(operands) :])
    if any(word in HELP for word in rest):
        out.write(verb_help(program, verb, operands))
        raise HelpShown
    if lacking := verb.options.needed()[len(operands) :]:
        name = lacking[0]
        known = CHOICES.get(name)
        cure = f"choose one of {', '.join(known)}" if known else f"usage: {program} {verb.name} {name.upper()}"
        raise InputError(f"{verb.name}: no {name} given; {cure}")
    help_line = f"all options: {' '.join([program, verb.name, *operands.values()])} --help"
    return verb, _options(verb, operands, _by_option(rest, help_line), help_line)


def _command(sent: Verb, words: list[str], out: TextIO, program: str) -> tuple[Verb, Any]:
    """`submit` of a verb without a preset, followed by that verb's own words and by those of the job."""
    if (reason := NOT_SENT.get(sent.name)) is not None:
        raise InputError(f"submit {sent.name}: {reason}")
    job = Verb(f"submit {sent.name}", f"{sent.summary}; as a job", CommandOptions)
    if any(word in HELP for word in words):
        out.write(verb_help(program, job, {}) + "\n" + verb_help(program, sent, {}))
        raise HelpShown
    own, settings = of_the_job(words)
    _, options = parse([sent.name, *own], out, program)
    help_line = f"all options: {program} submit {sent.name} --help"
    where = _options(job, {}, _by_option(settings, help_line), help_line)
    command = CommandJob(verb=sent.name, options=options, settings=cast(CommandOptions, where))
    return Verb("submit", job.summary, CommandJob, "jobs.commanding"), command


def _operands(verb: Verb, names: Sequence[str], words: Sequence[str]) -> dict[str, str]:
    """The words before the options, by the operands' names."""
    operands: dict[str, str] = {}
    for name, word in zip(names, words, strict=False):
        if word.startswith("-"):
            break
        if name in CHOICES and word not in CHOICES[name]:
            raise InputError(_unknown(name, word, CHOICES[name]))
        operands[name] = word
    if empty := list(_empty({name.upper(): word for name, word in operands.items()})):
        raise InputError(empty)
    return operands


def _by_option(words: Sequence[str], help_line: str) -> Given:
    """Every option with the words of its value, as often as it is given."""
    given: Given = {}
    latest: list[str] | None = None
    for word in words:
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            latest = [value] if equals else []
            given.setdefault(option, []).append(latest)
        elif latest is not None:
            latest.append(word)
        else:
            raise InputError(f"{word}: not expected here; {help_line}")
    return given


def _options(verb: Verb, operands: dict[str, str], given: Given, help_line: str) -> Options:
    """Build the verb's options from its operands and from the words of each option."""
    named, hints = verb.options.named(), get_type_hints(verb.options)
    types = {option: hints[field.name] for option, field in named.items()}
    config, changes = None, dict[str, Any]()
    if verb.has_preset:
        config, changes = _preset(operands["preset"], given.get("--overrides"))
        types |= {f"--{name}": setting_type for name, setting_type in setting_types(config).items()}
    sections = verb.options.sections()
    for name, section in sections.items():
        types |= {f"--{dotted}": kind for dotted, kind in setting_types(section, f"{name}.").items()}
    given = _spelled(given, types, help_line)
    switches = [option for option, field in named.items() if field.default is False]
    values, problems = _values(given, types, switches)
    problems += _empty({option: value for option, value in values.items() if option in named})
    needed = [option for option, field in named.items() if field.default is dataclasses.MISSING]
    missing = [option for option in needed if option not in given]
    problems += [f"{verb.name}: {option} is missing; give all of {', '.join(needed)}" for option in missing]
    if problems:
        raise InputError(problems)
    own = {field.name: values.pop(option) for option, field in named.items() if option in values}
    for name, section in sections.items():
        of_section = [option for option in values if option.startswith(f"--{name}.")]
        named_here = {option.removeprefix(f"--{name}."): values.pop(option) for option in of_section}
        own[name] = from_json(type(section), {**to_json(section), **named_here}, name)
    if config is not None:
        settings = {option.removeprefix("--"): value for option, value in values.items()}
        own |= {"config": override(config, settings), "changes": {**changes, **settings}}
    return verb.options(**operands, **own)


def _spelled(given: Given, known: Collection[str], help_line: str) -> Given:
    """`given` with every option as `known` spells it: hyphens and underscores are the same."""
    spelling = {option.replace("-", "_"): option for option in known}
    if unknown := [option for option in given if option.replace("-", "_") not in spelling]:
        raise InputError(f"{_unknown('option', option, known)}; {help_line}" for option in unknown)
    spelled: Given = {}
    for option, uses in given.items():
        spelled.setdefault(spelling[option.replace("-", "_")], []).extend(uses)
    return spelled


def _values(given: Given, types: dict[str, Any], switches: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """The values by option, and what is wrong with the others. Of an option with one value, the last one counts."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for option, uses in given.items():
        words = uses[-1]
        try:
            if len(uses) > 1 and takes_several(types[option]):
                raise InputError(f"{option} is given {len(uses)} times; write all of its values after one {option}")
            value = True if option in switches and not words else read_value(types[option], words, option)
            from_json(types[option], value, option)
            values[option] = value
        except InputError as error:
            problems += error.problems
    return values, problems


def _preset(name: str, overrides: list[list[str]] | None) -> tuple[RunConfig, dict[str, Any]]:
    """The preset `name` with the changes that `--overrides` names, and these."""
    config = PRESETS[name]()
    if overrides is None:
        return config, {}
    source = read_value(str, overrides[-1], "--overrides")
    if empty := list(_empty({"--overrides": source})):
        raise InputError(empty)
    changes = read_overrides(source)
    return override(config, changes, source_name(source)), changes


def _empty(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with options whose value is an empty text or list: no option of a verb means anything by one."""
    for option, value in values.items():
        if value == [] or any(
            isinstance(text, str) and not text.strip() for text in (value if isinstance(value, list) else [value])
        ):
            yield f"{option} is empty; is a variable unset? Give a value, or leave it out"


def _is_text(word: str) -> bool:
    """Whether `word` arrived as the characters that somebody typed, not as bytes that stand for none."""
    return "\0" not in word and not any("\ud800" <= character <= "\udfff" for character in word)


def _unknown(kind: str, word: str, known: Collection[str]) -> str:
    close = list(_close(word, known))
    cure = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(list(known)[:12])}"
    return f"unknown {kind} {word}; {cure}"


def _close(word: str, known: Collection[str]) -> Iterator[str]:
    """What `word` probably means: a setting without its section, else the most similar name."""
    last = word.lstrip("-").split(".")[-1]
    same_ending = [name for name in known if "." in name and name.split(".")[-1] == last]
    yield from same_ending or difflib.get_close_matches(word, known, 1)
