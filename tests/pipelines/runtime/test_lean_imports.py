"""What labels an image loads no compiler, and who asks for the compiler gets torch's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.commands import ROOT
from tests.serving import write_model

LOADED = """
import sys
from pipelines.measuring.models import load_predictor
import numpy, torch
from torchvision.ops import roi_align
label = load_predictor(sys.argv[1])
assert label([numpy.zeros((64, 96, 3), numpy.uint8)])[0].panoptic.ids.shape == (64, 96)
assert "torch._dynamo" not in sys.modules and "sympy" not in sys.modules
assert "torch._dynamo.utils" not in sys.modules and torch.compiler.disable.__module__ == "torch.compiler"
"""
ASKED = """
from torchvision import tv_tensors
from torchvision.ops.roi_align import is_compile_supported
assert is_compile_supported("cpu") in (True, False) and "torch._dynamo" in sys.modules
from torch._dynamo.utils import is_compile_supported as own
assert own("cpu") == is_compile_supported("cpu") and own is not is_compile_supported
image = tv_tensors.Image(torch.zeros(3, 4, 4))
assert type(tv_tensors.wrap(torch.ones(3, 4, 4), like=image)) is tv_tensors.Image
read = torch.compile(lambda x: roi_align(x, torch.zeros(1, 5), 1).sum(), backend="eager")
assert float(read(torch.ones(1, 1, 4, 4))) == 1
"""
FIRST = """
import sys, torch._dynamo, pipelines.measuring.models
from torchvision.ops.roi_align import is_compile_supported
assert is_compile_supported is sys.modules["torch._dynamo.utils"].is_compile_supported
"""
ELSEWHERE = """
import sys
from importlib import import_module
import torch
from pipelines.runtime.lean_imports import _stand_ins
with _stand_ins():
    import torch._dynamo
    from torch._dynamo.utils import counters
assert torch._dynamo.utils.counters is counters and sys.modules["torch._dynamo.utils"] is torch._dynamo.utils
"""


def check(code: str, *arguments: str) -> None:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_an_image_is_labelled_without_the_compiler_which_is_there_when_it_is_asked_for(tmp_path: Path) -> None:
    write_model(tmp_path / "model", 0)
    check(LOADED + ASKED, str(tmp_path / "model"))


def test_where_the_compiler_is_loaded_nothing_is_changed() -> None:
    check(FIRST)


def test_who_loads_the_compiler_meanwhile_gets_torchs_own() -> None:
    check(ELSEWHERE)
