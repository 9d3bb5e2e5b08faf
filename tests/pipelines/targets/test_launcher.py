"""cluster.yaml is checked without AWS, and the checks notice what they are for."""

from __future__ import annotations

import copy
import os
import shlex
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.canaries import CANARY, leaks
from tests.damages import documents, drop, misspell, put
from tests.pipelines.targets.launcher_rules import launcher_problems


@pytest.fixture
def launcher() -> dict[str, Any]:
    return documents("cluster.yaml")[0]


def test_cluster_yaml_is_valid(launcher: dict[str, Any]) -> None:
    before = copy.deepcopy(launcher)
    assert launcher_problems(launcher) == []
    assert launcher == before


HEAD, GPUS = "available_node_types.head", "available_node_types.gpu"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (misspell("", "idle_timeout_minutes", "idle_timeout_minute"), "idle_timeout_minute"),
        (misspell(GPUS, "max_workers", "max_worker"), "max_worker"),
        (drop("", "provider"), "provider"),
        (put("", head_node_type="haed"), "head_node_type"),
        (drop(GPUS, "max_workers"), "min_workers and max_workers are both needed"),
        (drop(GPUS, "min_workers"), "min_workers and max_workers are both needed"),
        (put(GPUS, min_workers=5), "smaller than the sum of `min_workers`"),
        (put(f"{GPUS}.resources", GPU=0), "without GPU"),
        (drop(GPUS, "docker"), "gpu: the container would see none of its GPUs; set docker.worker_run_options"),
        (put("docker", image="registry.example.com/aunet:latest"), "docker.image: "),
        (drop(f"{GPUS}.node_config", "InstanceMarketOptions"), "MarketType: spot"),
        (put(f"{HEAD}.node_config", InstanceMarketOptions={"MarketType": "spot"}), "must be on demand"),
        (put(f"{HEAD}.resources", CPU=8), "must run no work"),
        (drop(f"{GPUS}.node_config", "IamInstanceProfile"), "IamInstanceProfile is missing"),
        (put("docker", run_options=["--env RAY_AUTH_MODE=token"]), "--shm-size is missing"),
        (put("docker", run_options=["--shm-size=64g"]), "RAY_AUTH_MODE=token is missing"),
        (put("", setup_commands=["export AWS_SECRET_ACCESS_KEY=x"]), "holds a credential"),
        (put("", setup_commands=["export RAY_AUTH_TOKEN=0123"]), "a credential"),
    ],
)
def test_a_damaged_cluster_yaml_is_noticed(launcher: dict[str, Any], damage: Callable[..., Any], message: str) -> None:
    damage(launcher)
    assert message in " ".join(launcher_problems(launcher))


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ({"setup_commands": [f"export RAY_AUTH_TOKEN={CANARY}"]}, "setup_commands[0]"),
        ({"setup_commands": ["ls", f"aws configure set aws_secret_access_key={CANARY}"]}, "setup_commands[1]"),
        ({"head_setup_commands": [f"pip install x @ https://{CANARY}@host/x"]}, "head_setup_commands[0]"),
        ({"file_mounts": {"/x": f"s3://KEY:{CANARY}/{CANARY}@bucket"}}, "file_mounts./x"),
    ],
)
def test_a_credential_is_named_by_its_field_and_not_repeated(
    launcher: dict[str, Any], setting: dict[str, Any], field: str
) -> None:
    (problem,) = launcher_problems({**launcher, **setting})
    assert problem.startswith(f"{field}: holds a credential; ") and leaks(problem) == []


def test_a_variable_that_names_the_token_is_no_credential(launcher: dict[str, Any]) -> None:
    assert launcher_problems({**launcher, "setup_commands": ["export RAY_AUTH_TOKEN=$TOKEN"]}) == []


class Host:
    """A machine on which the launcher's commands run, with an `aws` that answers `answer`."""

    def __init__(self, folder: Path, answer: str, exit_code: int = 0) -> None:
        self.folder, self.programs = folder / "run", folder / "programs"
        self.programs.mkdir()
        self.program("aws", f"printf '%s' {shlex.quote(answer)}; exit {exit_code}")
        self.program("sudo", 'exec "$@"')
        self.program("chown", f'stat -c "%a %n" "$2" >> {folder}/modes')
        self.program("mv", f'stat -c "%a %n" "$2" >> {folder}/modes; exec /bin/mv "$@"')
        self.modes = folder / "modes"

    def program(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def start(self, commands: list[str]) -> int:
        """Run the commands as the launcher does, one after the other until one fails."""
        environment = {**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}"}
        for command in commands:
            here = command.replace("/run/aunet", str(self.folder))
            code = subprocess.run(["bash", "-c", f"umask 022; {here}"], env=environment, check=False).returncode
            if code:
                return code
        return 0


def test_the_token_is_never_readable_by_others(launcher: dict[str, Any], tmp_path: Path) -> None:
    host = Host(tmp_path, CANARY)
    assert host.start(launcher["initialization_commands"]) == 0
    file = host.folder / "auth_token"
    assert file.read_text() == f"{CANARY}\n" and stat.S_IMODE(file.stat().st_mode) == 0o400
    assert {line.split()[0] for line in host.modes.read_text().splitlines()} == {"600", "400"}
    assert [path.name for path in host.folder.iterdir()] == ["auth_token"]
    assert CANARY not in str(launcher)


@pytest.mark.parametrize(("answer", "exit_code"), [("", 0), ("None", 0), ("", 254), (CANARY, 1)])
def test_a_look_up_that_fails_leaves_no_token(
    launcher: dict[str, Any], tmp_path: Path, answer: str, exit_code: int
) -> None:
    host = Host(tmp_path, answer, exit_code)
    assert host.start(launcher["initialization_commands"]) != 0
    assert list(host.folder.iterdir()) == []


def test_a_new_token_replaces_the_old_one_whole(launcher: dict[str, Any], tmp_path: Path) -> None:
    host = Host(tmp_path, "new-token")
    host.folder.mkdir()
    (host.folder / "auth_token").write_text("old")
    (host.folder / "auth_token.new").write_text("left behind, and readable")
    assert host.start(launcher["initialization_commands"]) == 0
    assert (host.folder / "auth_token").read_text() == "new-token\n"
    assert {line.split()[0] for line in host.modes.read_text().splitlines()} == {"600", "400"}
