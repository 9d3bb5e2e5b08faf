"""The build driver: what it finds, what it says, and that it does nothing twice."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch

from aunet_ops import build, kernel_status, kernels


def test_the_compiled_cpu_kernel_serves():
    if os.environ.get("AUNET_OPS_BUILD") == "off":
        pytest.skip("AUNET_OPS_BUILD=off")
    cpu, cuda = kernel_status()
    assert cpu.device == "cpu" and cpu.compiled, str(cpu)
    assert cuda.device == "cuda" and (cuda.compiled or cuda.detail), str(cuda)
    assert "\n" not in str(cpu) + str(cuda)


def test_where_there_is_a_toolkit_the_cuda_kernel_was_compiled_and_loads():
    """`auto` goes on without it where the compiler refuses: nothing else would tell."""
    if os.environ.get("AUNET_OPS_BUILD") == "off":
        pytest.skip("AUNET_OPS_BUILD=off")
    try:
        build.find_cuda_toolkit(torch.version.cuda)
    except build.BuildError as reason:
        pytest.skip(f"no CUDA toolkit: {reason}")
    _, cuda = kernel_status()
    assert cuda.compiled, str(cuda)


def test_the_driver_imports_nothing_but_the_standard_library():
    script = "import runpy, sys; runpy.run_path(sys.argv[1]); print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script, build.__file__], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_torch_is_found_without_importing_it():
    folder, version, cuda = build.torch_location()
    assert folder == Path(torch.__file__).parent
    assert (version, cuda) == (torch.__version__, torch.version.cuda)


def test_does_nothing_when_the_sources_are_unchanged(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "_run", lambda command: pytest.fail("compiled again"))
    (tmp_path / "cpu.so").touch()
    (tmp_path / "cpu.json").write_text(json.dumps({"digest": build.source_digest()}))
    assert build.build("cpu", tmp_path) is False


def noted_commands(monkeypatch):
    """The commands of a build, none of which runs: each only leaves an empty file where its output would be."""
    commands = []

    def run(command):
        commands.append(command)
        Path(command[command.index("-o") + 1]).touch()

    monkeypatch.setattr(build, "_run", run)
    return commands


def test_builds_when_the_sources_have_changed(monkeypatch, tmp_path):
    commands = noted_commands(monkeypatch)
    (tmp_path / "cpu.so").touch()
    (tmp_path / "cpu.json").write_text(json.dumps({"digest": "another"}))
    assert build.build("cpu", tmp_path) is True
    assert json.loads((tmp_path / "cpu.json").read_text())["digest"] == build.source_digest()
    assert len(commands) == 8 - 2 * (os.uname().machine != "x86_64")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cpu.json", "cpu.so"]


def test_the_map_reader_is_built_without_torch(monkeypatch, tmp_path):
    commands = noted_commands(monkeypatch)
    monkeypatch.setattr(build, "torch_location", lambda: pytest.fail("torch is looked for"))
    assert build.build("maps", tmp_path) is True
    assert len(commands) == 6 and "torch" not in str(commands)
    assert json.loads((tmp_path / "maps.json").read_text())["digest"] == build.source_digest("maps")


def test_the_map_reader_and_the_operators_do_not_make_each_other_stale(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "source_root", lambda: tmp_path)
    (tmp_path / "maps").mkdir()
    digests = {}
    for name in ("a.cpp", "maps/b.cpp"):
        before = [build.source_digest(kind) for kind in ("cpu", "maps")]
        (tmp_path / name).write_text("1")
        digests[name] = [a != b for a, b in zip(before, map(build.source_digest, ("cpu", "maps")), strict=True)]
    assert digests == {"a.cpp": [True, False], "maps/b.cpp": [False, True]}


def test_the_digest_follows_the_sources(monkeypatch, tmp_path):
    (tmp_path / "a.cpp").write_text("1")
    monkeypatch.setattr(build, "source_root", lambda: tmp_path)
    before = build.source_digest()
    (tmp_path / "a.cpp").write_text("2")
    assert build.source_digest() != before


@pytest.mark.parametrize(
    ("archs", "want"),
    [
        ("8.0", ["-gencode=arch=compute_80,code=sm_80"]),
        ("9.0a;10.0", ["-gencode=arch=compute_90a,code=sm_90a", "-gencode=arch=compute_100,code=sm_100"]),
        ("9.0+PTX", ["-gencode=arch=compute_90,code=sm_90", "-gencode=arch=compute_90,code=compute_90"]),
    ],
)
def test_architectures(archs, want):
    assert build.gencode_flags(archs) == want


def test_architectures_reject_other_words():
    with pytest.raises(build.BuildError, match=r'like "8\.0" or "9\.0\+PTX", got "Hopper"'):
        build.gencode_flags("8.0;Hopper")


def fake_nvcc(folder: Path, top: Path, release: str) -> Path:
    """An nvcc that is a wrapper in a folder of its own: only its dry run tells where the toolkit is."""
    nvcc = folder / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    dry, version = f'echo "#$ TOP={top}/bin/.." >&2', f'echo "release {release}, V"'
    nvcc.write_text(f'#!/bin/sh\ncase "$1" in --dryrun) {dry};; *) {version};; esac\n')
    nvcc.chmod(0o755)
    return nvcc


def test_the_toolkit_is_where_nvcc_says(monkeypatch, tmp_path):
    toolkit = tmp_path / "cuda-13.1"
    (toolkit / "bin").mkdir(parents=True)
    fake_nvcc(tmp_path / "wrapper", toolkit, "13.1")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}/wrapper/bin:/usr/bin:/bin")
    monkeypatch.setattr(build, "_USUAL_NVCC", tmp_path / "nowhere")
    assert build.find_cuda_toolkit("13.2") == (toolkit, "13.1")
    with pytest.raises(build.BuildError, match=r"nvcc is CUDA 13\.1 but torch was built for CUDA 12\.8: the major"):
        build.find_cuda_toolkit("12.8")


def test_an_nvcc_of_another_major_version_does_not_hide_the_next_one(monkeypatch, tmp_path):
    for release in ("12.8", "13.1"):
        fake_nvcc(tmp_path / release, tmp_path / release, release)
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}/12.8/bin:/usr/bin:/bin")
    monkeypatch.setattr(build, "_USUAL_NVCC", tmp_path / "13.1/bin/nvcc")
    assert build.find_cuda_toolkit("13.2") == (tmp_path / "13.1", "13.1")
    with pytest.raises(build.BuildError, match=r"nvcc is CUDA 12\.8 but torch was built for CUDA 11\.8"):
        build.find_cuda_toolkit("11.8")
    monkeypatch.setenv("CUDA_HOME", f"{tmp_path}/12.8")
    with pytest.raises(build.BuildError, match=r"nvcc is CUDA 12\.8 but torch was built for CUDA 13\.2"):
        build.find_cuda_toolkit("13.2")  # it was asked for


def test_libraries_of_the_toolkit_are_looked_for_where_pip_puts_them_too(monkeypatch, tmp_path):
    commands = noted_commands(monkeypatch)
    monkeypatch.setattr(build, "torch_location", lambda: (tmp_path, "2.15.0", "13.2"))
    monkeypatch.setattr(build, "find_cuda_toolkit", lambda _: (Path("/toolkit"), "13.1"))
    monkeypatch.setenv("CXX", "env g++ -pthread")
    assert build.build("cuda", tmp_path / "out") is True
    *compilations, link = commands
    assert link[:2] == ["env", "g++"] and {"-L/toolkit/lib64", "-L/toolkit/lib"} <= set(
        link[: link.index("-lcudart_static")]
    )
    (nvcc,) = [command for command in compilations if command[0] == "/toolkit/bin/nvcc"]
    assert nvcc[nvcc.index("-ccbin") + 1] == "g++", "nvcc wants the compiler alone"


@pytest.mark.parametrize(
    ("words", "compiler"),
    [
        ("env g++", ["env", "g++"]),  # as ccache g++
        ("env g++ -pthread -B /x", ["env", "g++"]),
        ("g++ -m64", ["g++"]),
        ("no-such-thing g++", ["g++"]),
        ("env no-such-thing", ["g++"]),
        (" ", ["g++"]),
    ],
)
def test_a_compiler_may_have_something_before_it_and_flags_behind(monkeypatch, tmp_path, words, compiler):
    (tmp_path / "g++").write_text("")
    (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CXX", words)
    assert build.find_compiler() == compiler


def test_a_source_distribution_holds_all_that_a_build_needs(tmp_path):
    sources = Path(build.__file__).parent.parent
    shutil.copytree(
        sources, tmp_path / "ops", ignore=shutil.ignore_patterns("_lib", "build", "*.egg-info", "__pycache__")
    )
    script = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path / "ops", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (archive,) = (tmp_path / "ops/dist").glob("*.tar.gz")
    with tarfile.open(archive) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    needed = {path.relative_to(sources).as_posix() for path in (sources / "csrc").rglob("*") if path.is_file()}
    assert len(needed) > 10 and needed | {"setup.py", "aunet_ops/build.py", "aunet_ops/py.typed"} <= names


def test_why_cuda_is_not_built(monkeypatch, tmp_path):
    with pytest.raises(build.BuildError, match="this torch is a CPU build"):
        build.find_cuda_toolkit(None)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(build.Path, "is_file", lambda self: False)
    with pytest.raises(build.BuildError, match=r"nvcc not found \(CUDA 13.x is needed; set CUDA_HOME\)"):
        build.find_cuda_toolkit("13.2")


@pytest.mark.parametrize(
    ("mode", "status"), [("auto", 0), ("require", 1), ("require-cuda", 1), ("off", 0), ("sometimes", 1)]
)
def test_modes_when_nothing_can_be_built(monkeypatch, tmp_path, capsys, mode, status):
    def fail(kind, folder, force):
        raise build.BuildError("no compiler")

    monkeypatch.setenv("AUNET_OPS_BUILD", mode)
    monkeypatch.setattr(build, "build", fail)
    assert build.build_all(tmp_path) == status
    messages = capsys.readouterr().err
    if mode in ("auto", "require", "require-cuda"):
        assert "aunet_ops cpu: not built: no compiler. The PyTorch composition serves cpu tensors (slower)." in messages


def test_a_compiler_error_is_reported_in_its_own_words():
    with pytest.raises(build.BuildError, match="error: no such thing"):
        build._run([sys.executable, "-c", "import sys; sys.exit('x.cpp:1: error: no such thing')"])


@pytest.mark.parametrize(
    ("library", "detail"),
    [
        ((None, {}), "not built"),
        ((Path("x.so"), {"digest": "old"}), "built from other sources"),
        ((Path("/nowhere/x.so"), {"digest": None}), "cannot be loaded"),
    ],
)
def test_a_missing_or_older_binary_is_reported_in_one_line_with_the_cure(monkeypatch, library, detail):
    path, record = library
    if record.get("digest", "") is None:
        record = {"digest": build.source_digest()}
    monkeypatch.setattr(kernels, "find_library", lambda kind: (path, record))
    status = kernels._load("cpu")
    assert not status.compiled and detail in status.detail
    assert status.cure is not None and status.cure.startswith("python -m aunet_ops.build")
    assert str(status).startswith("cpu: PyTorch composition (") and "\n" not in str(status)


def test_a_cuda_binary_of_another_major_version_is_not_loaded(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    record = {"digest": build.source_digest(), "CUDA": "12.8"}
    monkeypatch.setattr(kernels, "find_library", lambda kind: (Path("cuda.so"), record))
    status = kernels._load("cuda")
    assert status.detail == "built with CUDA 12.8, but torch uses CUDA 13.2"
    monkeypatch.setattr(torch.version, "cuda", None)
    assert kernels._load("cuda").detail == "this torch is a CPU build"
