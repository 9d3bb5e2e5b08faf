"""Compile the operators: ``python -m aunet_ops.build``. Standard library only, and torch is not imported.

Three shared libraries are built: ``maps.so``, which reads segment maps and needs no torch; ``cpu.so``; and
``cuda.so`` where an nvcc of torch's major CUDA version is found (whether or not this machine has a GPU). The last two
use libtorch's stable ABI, so one build serves torch 2.11 and later and any Python. Nothing is compiled when the sources
have not changed.

Environment:
    AUNET_OPS_BUILD: auto (default), off, require (all but CUDA must build) or require-cuda (all must).
    TORCH_CUDA_ARCH_LIST: GPU architectures, default "7.5;8.0;8.6;8.9;9.0+PTX".
    CUDA_HOME, CXX: the CUDA toolkit and the C++ compiler.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
KINDS = ("maps", "cpu", "cuda")
BUILD_COMMAND = "python -m aunet_ops.build"
DEFAULT_ARCHS = "7.5;8.0;8.6;8.9;9.0+PTX"
"""T4 and RTX 20, A100, A10 and RTX 30, L4 and RTX 40, H100; PTX for later GPUs."""

_USUAL_NVCC = Path("/usr/local/cuda/bin/nvcc")
_TARGET_VERSION = "-DTORCH_TARGET_VERSION=0x020b000000000000"  # torch 2.11
_CXX_FLAGS = ["-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-DNDEBUG", _TARGET_VERSION]
_NVCC_FLAGS = ["-std=c++20", "-O3", "-Xcompiler=-fPIC,-fvisibility=hidden", "-DUSE_CUDA", _TARGET_VERSION]
_EXACT = ["-ffp-contract=off"]
_AVX2 = ["-mavx2", "-mfma", "-mf16c"]
_AVX512 = ["-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", *_AVX2, "-Wno-maybe-uninitialized"]

# The baseline is first: where the linker meets an inline function twice it keeps the first, which runs anywhere.
_UNITS: dict[str, list[tuple[str, list[str]]]] = {
    "cpu": [
        ("cpu/roi_upsample_baseline.cpp", []),
        ("cpu/roi_upsample.cpp", []),
        ("cpu/roi_upsample_plan.cpp", _EXACT),
        ("cpu/roi_upsample_tables.cpp", _EXACT),
        ("roi_upsample.cpp", []),
    ],
    "cuda": [("cuda/roi_upsample.cu", []), ("roi_upsample.cpp", [])],
}
_MAPS_FLAGS = ["-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-DNDEBUG"]
_MAPS_UNITS = ["checksums", "inflate", "pairs", "png", "segment_maps"]
_X86_UNITS = [("cpu/roi_upsample_avx2.cpp", _AVX2), ("cpu/roi_upsample_avx512.cpp", _AVX512)]


class BuildError(Exception):
    """Why a library cannot be built, in one line."""


def source_root() -> Path:
    """The C++ sources: beside the package in a checkout, inside it in a wheel."""
    inside = PACKAGE / "csrc"
    return inside if inside.is_dir() else PACKAGE.parent / "csrc"


def source_digest(kind: str = "cpu") -> str:
    """SHA-256 of the C++ sources and the compiler flags; a library's record holds that of its sources.

    Those of "maps" are apart from the others, so that a change there compiles no operator again.
    """
    is_maps = kind == "maps"
    recipe = (_MAPS_FLAGS, _MAPS_UNITS) if is_maps else (_CXX_FLAGS, _NVCC_FLAGS, _UNITS, _X86_UNITS)
    digest = hashlib.sha256(repr(recipe).encode())
    root = source_root()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        if (path.relative_to(root).parts[0] == "maps") != is_maps:
            continue
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_directory(kind: str = "cpu") -> Path:
    """Where the library of ``kind`` is written when the package folder is read-only."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aunet_ops" / source_digest(kind)[:16]


def find_library(kind: str) -> tuple[Path | None, dict[str, str]]:
    """The library of ``kind`` ("maps", "cpu" or "cuda") and its record; ``(None, {})`` where there is none."""
    for folder in (PACKAGE / "_lib", cache_directory(kind)):
        record = folder / f"{kind}.json"
        if record.is_file() and (folder / f"{kind}.so").is_file():
            return folder / f"{kind}.so", json.loads(record.read_text())
    return None, {}


def torch_location() -> tuple[Path, str, str | None]:
    """``(folder, version, CUDA version or None)`` of the torch that would be imported, without importing it.

    Raises:
        BuildError: if there is no torch.
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise BuildError(f"torch is not installed; install it, then run: {BUILD_COMMAND}")
    folder = Path(spec.origin).parent
    text = (folder / "version.py").read_text()
    version = re.search(r"^__version__ = '([^']+)'", text, re.M)
    cuda = re.search(r"^cuda[^=\n]*= '([^']+)'", text, re.M)
    return folder, version[1] if version else "unknown", cuda[1] if cuda else None


def find_cuda_toolkit(torch_cuda: str | None) -> tuple[Path, str]:
    """``(root, version)`` of the CUDA toolkit to use.

    An nvcc may be a wrapper script in another folder, so that it is asked itself. The first that suits torch serves.

    Args:
        torch_cuda: the CUDA version torch was built for; the major versions must match.

    Raises:
        BuildError: if torch is a CPU build, or no nvcc, or not that of ``CUDA_HOME``, is of torch's major version.
    """
    if torch_cuda is None:
        raise BuildError("this torch is a CPU build")
    major = torch_cuda.split(".")[0]
    home, on_path, mismatch = os.environ.get("CUDA_HOME"), shutil.which("nvcc"), None
    asked_for = Path(home) / "bin" / "nvcc" if home else None
    for nvcc in (asked_for, Path(on_path) if on_path else None, _USUAL_NVCC):
        if nvcc is None or not nvcc.is_file():
            continue
        dry = subprocess.run([nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True)
        top = re.search(r"TOP=(\S+)", dry.stderr + dry.stdout)
        root = Path(top[1]).resolve() if top else nvcc.resolve().parent.parent
        version = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
        release = re.search(r"release (\d+\.\d+)", version)
        if release is None:
            continue
        if release[1].split(".")[0] == major:
            return root, release[1]
        mismatch = mismatch or BuildError(
            f"nvcc is CUDA {release[1]} but torch was built for CUDA {torch_cuda}: the major versions must match"
        )
        if nvcc == asked_for:
            break
    raise mismatch or BuildError(f"nvcc not found (CUDA {major}.x is needed; set CUDA_HOME)")


def find_compiler() -> list[str]:
    """The C++ compiler without its flags, after what runs it, such as ccache: that of ``CXX``, of Python, or any.

    Raises:
        BuildError: if there is none.
    """
    words = shlex.split(os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++")
    compiler = list(takewhile(lambda word: not word.startswith("-"), words))
    if not compiler or any(shutil.which(word) is None for word in compiler):
        compiler = [name for name in ("g++", "c++", "clang++") if shutil.which(name)][:1]
    if not compiler:
        raise BuildError("no C++ compiler found (install g++, or set CXX)")
    return compiler


def gencode_flags(archs: str) -> list[str]:
    """nvcc's flags for a list like "8.0;9.0+PTX", in the syntax of torch's own TORCH_CUDA_ARCH_LIST.

    Raises:
        BuildError: if an entry is not of that form.
    """
    flags = []
    for arch in filter(None, re.split(r"[;\s]+", archs)):
        match = re.fullmatch(r"(\d+)\.(\d+[a-z]?)(\+PTX)?", arch)
        if match is None:
            raise BuildError(f'TORCH_CUDA_ARCH_LIST: expected entries like "8.0" or "9.0+PTX", got "{arch}"')
        number = match[1] + match[2]
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if match[3]:
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def build(kind: str, folder: Path, force: bool = False) -> bool:
    """Build one library into ``folder`` unless the existing one is of the same sources.

    Returns:
        True if it was built, False if nothing had to be done.

    Raises:
        BuildError: if it cannot be built.
    """
    if sys.platform != "linux":
        raise BuildError(f"only Linux is supported so far, this is {sys.platform}")
    record = {"digest": source_digest(kind)}
    root, archs, torch_folder, torch_cuda = Path(), "", Path(), None
    if kind != "maps":
        torch_folder, record["built with torch"], torch_cuda = torch_location()
    if kind == "cuda":
        root, release = find_cuda_toolkit(torch_cuda)
        archs = os.environ.get("TORCH_CUDA_ARCH_LIST") or DEFAULT_ARCHS
        record |= {"CUDA": release, "architectures": archs}
    target, note = folder / f"{kind}.so", folder / f"{kind}.json"
    if not force and target.is_file() and note.is_file():
        existing = json.loads(note.read_text())
        if all(existing.get(key) == record[key] for key in ("digest", "CUDA", "architectures") if key in record):
            return False

    units = [(f"maps/{name}.cpp", []) for name in _MAPS_UNITS] if kind == "maps" else list(_UNITS[kind])
    if kind == "cpu" and platform.machine() in ("x86_64", "AMD64"):
        units += _X86_UNITS
    include = ["-isystem", f"{torch_folder}/include", "-isystem", f"{torch_folder}/include/torch/csrc/api/include"]
    torch_libraries = [f"-L{torch_folder}/lib", "-ltorch_cpu", "-ltorch"]
    if kind == "maps":
        include, torch_libraries = [], []
    compiler = find_compiler()
    no_paths = f"-ffile-prefix-map={source_root()}=csrc"  # messages name the file without this machine's folders
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        commands, objects = [], []
        for number, (source, flags) in enumerate(units):
            path = source_root() / source
            objects.append(f"{scratch}/{number}.o")
            if path.suffix == ".cu":
                command = [f"{root}/bin/nvcc", "-ccbin", compiler[-1], *_NVCC_FLAGS, "--threads", "0"]
                command += [f"-Xcompiler={no_paths}"]
                command += gencode_flags(archs)
            else:
                command = [*compiler, *(_MAPS_FLAGS if kind == "maps" else _CXX_FLAGS), *flags, no_paths]
            commands.append([*command, *include, "-c", str(path), "-o", objects[-1]])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        fresh = f"{scratch}/{kind}.so"
        link = [*compiler, "-shared", "-o", fresh, *objects, *torch_libraries]
        if kind == "cuda":
            toolkit = [f"-L{root}/lib64", f"-L{root}/lib"]  # pip's has no lib64
            link += ["-Wl,--no-as-needed", "-ltorch_cuda", *toolkit, "-lcudart_static", "-lrt", "-ldl", "-lpthread"]
        _run(link)
        (Path(scratch) / "note").write_text(json.dumps(record | {"built": time.strftime("%Y-%m-%d")}, indent=1))
        os.replace(fresh, target)  # atomic: concurrent builds do no harm
        os.replace(f"{scratch}/note", note)
    return True


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).strip().splitlines()
        error = next((line for line in lines if "error" in line), lines[-1] if lines else "no message")
        raise BuildError(f"{error}\n  command: {shlex.join(command)}")


def build_all(folder: Path | None = None, force: bool = False) -> int:
    """Build what can be built and print a line about each kind to stderr.

    Args:
        folder: where the libraries go; by default the package, or the user's cache if the package is read-only.
        force: build although nothing has changed.

    Returns:
        The exit status: 1 if something was required (AUNET_OPS_BUILD) or failed to compile, else 0.
    """
    mode = os.environ.get("AUNET_OPS_BUILD", "auto")
    if mode not in ("auto", "off", "require", "require-cuda"):
        print(f"AUNET_OPS_BUILD must be auto, off, require or require-cuda, got {mode!r}", file=sys.stderr)
        return 1
    if mode == "off":
        print("aunet_ops: not built (AUNET_OPS_BUILD=off)", file=sys.stderr)
        return 0
    status = 0
    for kind in KINDS:
        begin = time.monotonic()
        try:
            package = PACKAGE / "_lib" if os.access(PACKAGE, os.W_OK) else cache_directory(kind)
            built = build(kind, folder or package, force)
            outcome = f"built in {time.monotonic() - begin:.1f} s" if built else "up to date"
        except BuildError as error:
            serves = (
                "Pillow and numpy read maps" if kind == "maps" else f"The PyTorch composition serves {kind} tensors"
            )
            outcome = f"not built: {error}. {serves} (slower)."
            if mode == "require-cuda" or (mode == "require" and kind != "cuda"):
                status = 1
        print(f"aunet_ops {kind}: {outcome}", file=sys.stderr)
    return status


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog=BUILD_COMMAND, description="Compile the operators of aunet_ops.")
    parser.add_argument("--force", action="store_true", help="build although nothing has changed")
    return build_all(force=parser.parse_args().force)


if __name__ == "__main__":
    sys.exit(main())
