"""Help: all verbs and presets, or one verb with its options and the settings of a preset."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_type_hints

from jobs.values import in_words, type_name
from jobs.verbs import Verb
from pipelines.presets import PRESETS

WIDTH = 110
EXIT_CODES = (
    "The last line of stdout is one JSON object. Exit codes: 0 done, 2 wrong input, 3 refused, "
    "75 run it again, 1 anything else."
)


def overview(program: str, verbs: Iterable[Verb]) -> str:
    """All verbs and presets."""
    lines = _table((" ".join([verb.name, *verb.options.usage().values()]), verb.summary) for verb in verbs)
    return "\n".join(
        (
            f"usage: {program} VERB [PRESET] [--dotted.option value …]",
            f"\nverbs:\n{lines}",
            f"\npresets:\n{_presets()}",
            f"\noptions of a verb: {program} VERB [PRESET] --help",
            f"{EXIT_CODES}\n",
        )
    )


def verb_help(program: str, verb: Verb, operands: Mapping[str, str]) -> str:
    """A verb with its options; with a preset among `operands`, also that preset's settings and their values."""
    usage = " ".join([program, verb.name, *(operands.get(name, usual) for name, usual in verb.options.usage().items())])
    options = "\n".join(_own_options(verb))
    blocks = [f"usage: {usage} [--option value …]" if "--" in options else f"usage: {usage}", verb.summary]
    blocks += [f"options:\n{options}"] if options else []
    for name, section in verb.options.sections().items():
        blocks += _sections(section, name)
    if preset := operands.get("preset"):
        blocks += _sections(PRESETS[preset](), "")
    elif verb.has_preset:
        blocks += [f"presets:\n{_presets()}", f"settings of a preset: {usage} --help"]
    return "\n\n".join([*blocks, EXIT_CODES]) + "\n"


def _own_options(verb: Verb) -> Iterator[str]:
    hints, texts = get_type_hints(verb.options), field_texts(verb.options)
    yield from (_option(name.upper(), "", texts[name]) for name in verb.options.operands() if name in texts)
    for option, field in verb.options.named().items():
        needed = field.default is dataclasses.MISSING
        text = f"{texts.get(field.name, '')}{' Required.' if needed else ''}"
        # A switch needs no value, and what is None by default can be left out.
        kind = "" if field.default is False else type_name(hints[field.name]).removesuffix("|None")
        default = "" if needed or field.default in (None, False) else in_words(field.default)
        yield _option(f"{option} {kind}".rstrip(), default, text)


def _sections(config: Any, name: str) -> Iterator[str]:
    """The settings of a configuration, section by section."""
    hints, texts = get_type_hints(type(config)), field_texts(type(config))
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    sections = {key: value for key, value in values.items() if dataclasses.is_dataclass(value)}
    prefix = f"{name}." if name else ""
    lines = [
        _option(f"--{prefix}{key} {type_name(hints[key])}", in_words(value), texts.get(key, ""))
        for key, value in values.items()
        if key not in sections
    ]
    if lines:
        title = f"{name or 'the run'}: {(inspect.getdoc(type(config)) or '').splitlines()[0]}"
        yield "\n".join([title, *lines])
    for key, value in sections.items():
        yield from _sections(value, f"{prefix}{key}")


def _option(name: str, default: str, text: str) -> str:
    head = f"  {name} = {default}" if default else f"  {name}"
    body = textwrap.wrap(text, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return "\n".join([head, *body])


def _presets() -> str:
    return _table((name, (inspect.getdoc(function) or "").splitlines()[0]) for name, function in PRESETS.items())


def _table(rows: Iterable[tuple[str, str]]) -> str:
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:{width}}  {text}" for name, text in rows)


def field_texts(kind: type) -> dict[str, str]:
    """The texts under the fields of a dataclass and of its bases, each on one line."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        body = _classes(base.__module__)[base.__name__].body
        for statement, following in itertools.pairwise(body):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[name] = " ".join(text.split())
    return texts


@functools.cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
