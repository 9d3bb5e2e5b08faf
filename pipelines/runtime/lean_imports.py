"""torchvision without torch's compiler, which two of its modules load as they are imported: 4 s of CPU per process.

`torchvision.ops.roi_align` names a function of `torch._dynamo` at its top, and `torchvision.tv_tensors` decorates one
with `torch.compiler.disable`; only what is compiled calls them. While these two are executed, stand-ins are in their
place that load the compiler once they are called. Nothing else sees them, and where the compiler is loaded nothing is
done.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

COMPILER, UTILITIES = "torch._dynamo", "torch._dynamo.utils"
EAGER = ("torchvision.ops.roi_align", "torchvision.tv_tensors")
"""Modules that load the compiler."""


class LeanFinder(MetaPathFinder):
    """Finds the modules in `EAGER` as Python does, and has them executed with stand-ins."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """None, which leaves it to the others, unless the module would load the compiler."""
        if name not in EAGER or COMPILER in sys.modules:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with _stand_ins():
                execute(module)

        loader.exec_module = exec_module
        return spec


def install() -> None:
    """For this process; twice is once."""
    if not any(isinstance(finder, LeanFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, LeanFinder())


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    compiler: Any = import_module("torch.compiler")
    utilities = _Utilities(UTILITIES)
    disable = compiler.disable
    sys.modules[UTILITIES] = utilities
    compiler.disable = import_module("torch._compile")._disable_dynamo
    try:
        yield
    finally:
        compiler.disable = disable
        if sys.modules.get(UTILITIES) is utilities:
            del sys.modules[UTILITIES]


class _Utilities(ModuleType):
    """`torch._dynamo.utils`, which is loaded for anything but what `roi_align` names."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        """As torch's own."""
        return import_module(UTILITIES).is_compile_supported(device_type)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by the import itself
            raise AttributeError(name)
        if sys.modules.get(UTILITIES) is self:
            del sys.modules[UTILITIES]
        return getattr(import_module(UTILITIES), name)
