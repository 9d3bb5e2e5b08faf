"""Files that do something when torch opens them carelessly: they leave a mark, by which a test sees it."""

from __future__ import annotations

import io
import json
import pathlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim


class Mark:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return pathlib.Path.touch, (self.path,)


def saved(value: Any) -> bytes:
    """What `torch.save` makes of it."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def small_program(path: Path) -> Path:
    """A program of torch.export with weights, a constant and a free size."""

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)
            self.offset = torch.ones(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x).repeat(2, 1) + self.offset

    rows = 2 * Dim("rows", min=2, max=50)
    torch.export.save(torch.export.export(Small(), (torch.zeros(4, 3),), dynamic_shapes={"x": {0: rows}}), path)
    return path


def rewritten(program: Path, target: Path, **changes: Callable[[bytes], bytes] | bytes) -> Path:
    """A program with other records: `graph`, `inputs`, `weights`, `constants` (their configs), or `extra`, a new one.

    A change is the new content, or makes it of the old one.
    """
    names = {
        "graph": "models/model.json",
        "inputs": "data/sample_inputs/model.pt",
        "weights": "data/weights/model_weights_config.json",
        "constants": "data/constants/model_constants_config.json",
        "weight": "data/weights/weight_0",
        "opaque": "data/constants/opaque_obj_0",
        "library": "data/aotinductor/model/model.so",
    }
    reader: Any = torch._C.PyTorchFileReader(str(program))
    own = (".data/", "byteorder", ".format_version", ".storage_alignment")
    records = {n: reader.get_record(n) for n in reader.get_all_records() if not n.startswith(own)}
    for key, change in changes.items():
        content = change(records.get(names[key], b"")) if callable(change) else change
        records[names[key]] = content
    writer: Any = torch._C.PyTorchFileWriter(str(target))
    writer.set_min_version(6)
    for name, content in records.items():
        writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    return target


def hostile_programs(program: Path, folder: Path, mark: Path) -> dict[str, Path]:
    """Ways of running code by a program, each of which makes the file `mark` or would, in files of `folder`."""
    call = f"__import__('pathlib').Path({str(mark)!r}).touch()"

    def graph(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
        def changed(content: bytes) -> bytes:
            document = json.loads(content)
            change(document)
            return json.dumps(document).encode()

        return changed

    def pickled(content: bytes) -> bytes:
        document = json.loads(content)
        for entry in document["config"].values():
            entry |= {"use_pickle": True, "path_name": "weight_0"}
        return json.dumps(document).encode()

    def opaque(content: bytes) -> bytes:
        document = json.loads(content)
        for entry in document["config"].values():
            entry |= {"use_pickle": True, "path_name": "opaque_obj_0"}
        return json.dumps(document).encode()

    def expressions(value: Any) -> None:
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            if isinstance(inner, dict) and "expr_str" in inner:
                inner["expr_str"] = call
            expressions(inner)

    def target(document: Any) -> None:
        document["graph_module"]["graph"]["nodes"][0] |= {"target": "torch.os.system"}

    def guards(document: Any) -> None:
        document["guards_code"] = [f"{call} is None"]

    def spec(document: Any) -> None:
        signature = document["graph_module"]["module_call_graph"][0]["signature"]
        context = json.dumps({"default_factory_module": "os", "default_factory_name": "getcwd", "dict_context": []})
        signature["out_spec"] = json.dumps(
            [1, {"type": "collections.defaultdict", "context": context, "children_spec": []}]
        )

    poison = saved(Mark(mark))
    changes: dict[str, dict[str, Callable[[bytes], bytes] | bytes]] = {
        "inputs": {"inputs": poison},
        "pickled weight": {"weights": pickled, "weight": poison},
        "opaque constant": {"constants": opaque, "opaque": pickle.dumps(Mark(mark), 2)},
        "expression": {"graph": graph(expressions)},
        "guard": {"graph": graph(guards)},
        "target": {"graph": graph(target)},
        "spec": {"graph": graph(spec)},
        "library": {"library": b"\x7fELF"},
    }
    return {name: rewritten(program, folder / f"{number}.pt2", **c) for number, (name, c) in enumerate(changes.items())}
