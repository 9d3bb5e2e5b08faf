"""How a compiled library serves, or why it does not. Needs no torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelStatus:
    """Which code serves one kind of device, or the reading of segment maps."""

    device: str
    """"cpu", "cuda" or "maps"."""
    compiled: bool
    """True: the compiled kernel. False: the fallback, slower."""
    detail: str
    """What the library was built with, or why the compiled kernel does not serve."""
    cure: str | None
    """The command that fixes it, if there is one."""
    fallback: str = "PyTorch composition"
    """What serves in its place."""

    def __str__(self) -> str:
        cure = f"; run: {self.cure}" if self.cure else ""
        return f"{self.device}: {'compiled kernel' if self.compiled else self.fallback} ({self.detail}){cure}"
