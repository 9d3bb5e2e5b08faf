"""The Dockerfile, read without Docker: what it copies exists, its stages and arguments are used, its versions agree."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from aunet_ops import build

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions() -> list[tuple[str, str]]:
    """Name and arguments of every instruction, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest) for name, _, rest in (line.strip().partition(" ") for line in text.splitlines()) if name]


def arguments(name: str) -> list[str]:
    return [rest for given, rest in instructions() if given == name]


def commands() -> str:
    return "\n".join(arguments("RUN"))


def constraint(package: str) -> str:
    pin = re.search(rf"^{package}==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pin, package
    return pin[1]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a file of the root away: everything, but what is named after `!`."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    return f"!{path.split('/')[0]}" not in rules


def test_every_instruction_is_known() -> None:
    known = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER"}
    assert {name for name, _ in instructions()} == known


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    for rest in arguments("COPY"):
        *sources, _ = rest.split()
        assert not [s for s in sources if s.startswith("--")], "a copy between stages needs a test of its own"
        for source in sources:
            assert (ROOT / source).exists(), source
            assert not ignored(source), f"{source}: .dockerignore keeps it away"
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sent == {source for rest in arguments("COPY") for source in rest.split()[:-1]}


def test_stages_are_named_once_and_referred_to() -> None:
    made: list[str] = []
    for rest in arguments("FROM"):
        base, _, name = rest.split()
        assert base in made or ":" in base, f"{base}: no such stage"
        assert name not in made
        made.append(name)
    referred = {rest.split()[0] for rest in arguments("FROM")} | set(re.findall(r"from=(\w+)", commands()))
    assert made == ["operator", "base", "pipeline", "runtime"], "`docker build` makes the last one"
    assert set(made) - referred == {"pipeline", "runtime"}


def test_arguments_are_used() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for rest in arguments("ARG"):
        name = rest.split("=")[0]
        assert f"${{{name}}}" in text, f"{name} is never used"


def test_versions_agree() -> None:
    defaults = dict(rest.split("=", 1) for rest in arguments("ARG"))
    _, _, cuda = build.torch_location()
    if cuda:  # a CPU build of torch tells nothing
        assert defaults["CUDA_VERSION"].split(".")[0] == cuda.split(".")[0]
    assert f">={defaults['PYTHON_VERSION']}" == PROJECT["requires-python"]
    for package in ("uv", "torch", "setuptools", "kfp", "ray"):
        constraint(package)


def test_extras_exist_and_workers_have_no_kfp() -> None:
    extras = set(re.findall(r"--extra (\w+)", commands()))
    assert extras == {"pipelines", "kubeflow", "timm", "samples"} and extras <= PROJECT["optional-dependencies"].keys()
    stages = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    assert [stage.split()[2] for stage in stages[1:] if "kubeflow" in stage.split("# ---")[0]] == ["pipeline"]


def test_everything_installed_is_pinned_and_has_a_hash() -> None:
    """uv checks the hashes in constraints.txt; pip, which installs uv, asks for them."""
    for command in re.findall(r"(?:pip|uv pip) install[^&]*", commands()):
        assert re.search(r"-c (/app/)?constraints\.txt|--require-hashes -r \S*uv\.txt", command), command
    assert "--no-verify-hashes" not in commands()


def test_base_images_are_pinned_by_their_digest() -> None:
    defaults = dict(rest.split("=", 1) for rest in arguments("ARG"))
    foreign = [rest.split()[0] for rest in arguments("FROM") if ":" in rest.split()[0]]
    digests = [re.search(r":[^@]+@\$\{(\w+_DIGEST)\}$", image) for image in foreign]
    assert len(digests) == 2 and all(digests), foreign
    for digest in digests:
        assert digest and re.fullmatch(r"sha256:[0-9a-f]{64}", defaults[digest[1]]), digest


@pytest.mark.parametrize("answer", ["sha256:" + "7" * 64, "", "not found"])
def test_digests_are_refreshed(tmp_path: Path, answer: str) -> None:
    """`make digests`, with a docker that answers `answer` for any image."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "Dockerfile", tmp_path)
    (tmp_path / "docker").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho {answer}\n')
    (tmp_path / "docker").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["make", "digests"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    before, after = ((folder / "Dockerfile").read_text() for folder in (ROOT, tmp_path))
    if not answer.startswith("sha256:"):
        assert done.returncode != 0 and before == after
        return
    assert done.returncode == 0, done.stderr
    assert re.findall(r"_DIGEST=(\S+)", after) == [answer] * 2
    assert re.sub(r"_DIGEST=\S+", "", before) == re.sub(r"_DIGEST=\S+", "", after)
    asked = (tmp_path / "asked").read_text()
    for rest in arguments("FROM"):
        image = re.sub(r"@.*", "", rest.split()[0])
        for name, value in (pair.split("=", 1) for pair in arguments("ARG")):
            image = image.replace(f"${{{name}}}", value)
        assert ":" not in image or f" {image} " in asked


def test_the_operator_is_required_to_compile_for_cuda() -> None:
    (command,) = [command for command in arguments("RUN") if "uv build" in command]
    words = shlex.split(command)
    assert "AUNET_OPS_BUILD=require-cuda" in words and "--no-build-isolation" in words
    defaults = dict(rest.split("=", 1) for rest in arguments("ARG"))
    assert defaults["TORCH_CUDA_ARCH_LIST"] == '""' and build.gencode_flags(build.DEFAULT_ARCHS)


@pytest.mark.parametrize("stage", ["base", "pipeline"])
def test_nothing_runs_as_root(stage: str) -> None:
    from pipelines.targets.pods import POD_SECURITY

    text = (ROOT / "Dockerfile").read_text().split(f" AS {stage}\n")[1].split("\nFROM ")[0]
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    assert users[-1] == f"{POD_SECURITY['runAsUser']}:{POD_SECURITY['runAsGroup']}"


def test_the_image_has_what_the_cluster_launcher_asks_of_it() -> None:
    """Its home directory in ENV, rsync and ssh, an interpreter that login shells find."""
    environment = dict(pair.split("=", 1) for rest in arguments("ENV") for pair in rest.split())
    assert environment["HOME"] == "/ray" and environment["PYTHONPATH"] in arguments("WORKDIR")
    assert {"rsync", "openssh-client"} <= set(commands().split())
    assert "--system" in commands()
    launcher = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    assert "chown 1000:100" in launcher["initialization_commands"][-1]
