"""What `torch.save` and `torch.export.save` wrote, looked at before torch acts on it.

Both are zip archives with pickles inside. States are read without unpickling anything but tensors and plain values. A
program is code: what is looked at here leaves no known way to run other code than that of torch's operators, and is no
proof that there is none. Load programs of people you trust.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from aunet.documents import read_json, read_object
from aunet.errors import InputError
from aunet.names import printable

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_ZIP = b"PK\x03\x04"
_RECORDS = re.compile(
    r"archive_format|archive_version|byteorder|\.format_version|\.storage_alignment|\.data/\w+|models/model\.json"
    r"|data/(?:weights/(?:weight_\d+|model_weights_config\.json)|constants/(?:tensor_\d+|model_constants_config\.json))"
    r"|data/sample_inputs/model\.pt"
)
"""What the archive of one program consists of: no libraries, no objects, no files of older versions."""
_OPERATORS = re.compile(
    r"torch\.ops\.(?:aten|aunet|torchvision|prims)\.\w+(?:\.\w+)?|torch\.sym_(?!\w*__)\w+"
    r"|_operator\.(?:add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|not_|or_|pow|sub|truediv)"
)
_EXPRESSION = re.compile(
    r"(?:[su]\d+|zu[fi]\d+|True|False|integer|positive|nonnegative|Symbol|Integer|Rational|Float|Add|Mul|Pow|Min|Max|Mod"
    r"|(?:Strict)?(?:Less|Greater)Than|(?:Equal|Unequal)ity|Eq|Ne|And|Or|Not"
    r"|FloorDiv|PythonMod|CleanDiv|CeilDiv|ModularIndexing|Where|Identity|PowByNatural|IntTrueDiv|FloatTrueDiv|ToFloat"
    r"|\d+|[\s(),='+*/<>-])*"
)
"""Of sizes, as sympy reads them, which evaluates text."""
_GUARD = re.compile(
    r"(?:L\['\w+'\]|\.size\(\)|torch\.sym_(?:min|max|not|float)|\b(?:and|or|not|True|False)\b|\d+|[\s()\[\],+*/%<>=!-])*"
)
"""A condition on sizes, which torch compiles as Python."""


def read_state(path: Path) -> Any:
    """The tensors and plain values that `torch.save` wrote, on the CPU.

    Raises:
        ValueError: there is anything else in it, it is damaged, or much larger once unpacked; one line, without a cure.
    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(len(_ZIP)) == _ZIP
        if is_archive:
            _open_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file makes torch raise almost anything
        raise ValueError(_in_words(error)) from error


def read_program(path: Path) -> ExportedProgram:
    """The program that `torch.export.save` wrote.

    Raises:
        ValueError: it is damaged, or holds what `aunet.export` never writes; one line, without a cure.
    """
    from torch.export.pt2_archive._package import load_pt2  # loads torch's compiler, which takes 4 s

    try:
        for complaint in _complaints(_open_archive(path)):
            raise ValueError(complaint)
        return load_pt2(str(path)).exported_programs["model"]
    except Exception as error:
        raise ValueError(_in_words(error)) from error


def _open_archive(path: Path) -> Any:
    """torch's own reader of a zip archive, whose records take no more memory than the file."""
    archive = torch._C.PyTorchFileReader(str(path))
    unpacked, size = sum(map(archive.get_record_size, archive.get_all_records())), path.stat().st_size
    if unpacked > size:
        raise ValueError(f"compressed: {unpacked} bytes in a file of {size}")
    return archive


def _complaints(archive: Any) -> Iterator[str]:
    """What could run code that is not torch's, as far as that can be seen without running it."""
    names = archive.get_all_records()
    yield from (f"holds {name!r:.80}, which no export writes" for name in names if not _RECORDS.fullmatch(name))
    for kind in ("weights", "constants"):
        config = read_object(archive.get_record(f"data/{kind}/model_{kind}_config.json"), f"config of {kind}")
        pickled = [name for entries in config.values() for name, entry in entries.items() if entry["use_pickle"]]
        yield from (f"{name!r:.80} is pickled" for name in pickled)
    if inputs := archive.get_record("data/sample_inputs/model.pt"):
        torch.load(io.BytesIO(inputs), map_location="cpu", weights_only=True)
    yield from _complaints_of_graph(read_object(archive.get_record("models/model.json"), "graph"))


def _complaints_of_graph(value: Any) -> Iterator[str]:
    """Names of functions that are not operators, and texts that would be evaluated and are not about sizes."""
    if isinstance(value, list):
        for inner in value:
            yield from _complaints_of_graph(inner)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        is_text = isinstance(inner, str)
        if key == "target" and is_text and re.match("torch|_operator|math|#", inner):
            yield from [] if _OPERATORS.fullmatch(inner) else [f"calls {inner!r:.80}"]
        elif key == "expr_str":
            yield from [] if is_text and _EXPRESSION.fullmatch(inner) else [f"evaluates {inner!r:.80}"]
        elif key == "guards_code":
            yield from (f"evaluates {code!r:.80}" for code in inner if not _GUARD.fullmatch(code))
        elif key in ("in_spec", "out_spec") and is_text and inner:
            yield from _complaints_of_spec(read_json(inner, key))
        else:
            yield from _complaints_of_graph(inner)


def _complaints_of_spec(spec: Any) -> Iterator[str]:
    """Containers that torch would import modules for."""
    text = repr(spec)
    if "__enum__" in text or "default_factory" in text:
        yield f"has inputs or outputs {text!r:.80}"


def _in_words(error: Exception) -> str:
    """One short line, without torch's advice to unpickle all the same."""
    if isinstance(error, pickle.UnpicklingError):
        return "not a pickle of tensors and plain values alone"
    text = error.problems[0] if isinstance(error, InputError) else str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return f"{printable(first) or type(error).__name__:.160}"
