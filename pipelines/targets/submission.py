"""What a cluster job is, wherever it runs: an id that names its work, a command, an environment without credentials."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aunet.errors import InputError
from pipelines import storage
from pipelines.config import RunConfig, fingerprint, to_json
from pipelines.overrides import differences, flatten

MAX_NAME = 47
"""KubeRay takes no longer name for a RayJob."""
TRAVELS = ("MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION")
"""Variables that a job receives from here, besides those that start with AUNET_."""
SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSWORD|CREDENTIAL|_KEY", re.IGNORECASE)
CREDENTIALS = re.compile(r"://[^/\s@]*:[^/\s@]*@|https?://[^/\s@]+@|[?&](?:password|token|secret\w*|\w*key)=", re.I)
"""Credentials inside a URI: USER:PASSWORD@, a token before @, or a query that names one."""


@dataclass(frozen=True, slots=True)
class State:
    """How a job stands, in Ray's words on every target."""

    status: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED; of a schedule SCHEDULED."""
    message: str = ""
    exit_code: int | None = None

    @property
    def ended(self) -> bool:
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")


@dataclass(frozen=True, slots=True)
class Submission:
    """One job, ready to be sent."""

    id: str
    config: RunConfig
    verb: str
    preset: str
    words: tuple[str, ...]
    """What stands behind `python -m jobs`."""
    environment: Mapping[str, str]
    """Variables that go along; none holds a credential."""

    def command(self, python: str) -> str:
        """The command for a shell."""
        return shlex.join([python, "-m", "jobs", *self.words])


class Jobs(Protocol):
    """A place where jobs run."""

    def render(self, submission: Submission) -> str:
        """What would be sent, as YAML."""
        ...

    def state(self, id: str) -> State | None:
        """How the job stands; None: there is none of this id."""
        ...

    def send(self, submission: Submission) -> None:
        """Start it; one of the same id that has ended makes way."""
        ...

    def follow(self, id: str) -> State:
        """Show the log on stderr until the job has ended."""
        ...

    def logs(self, id: str) -> str:
        """What the job has said so far."""
        ...

    def stop(self, id: str) -> None:
        """End it."""
        ...


def submission(config: RunConfig, *, verb: str, preset: str, run: str | None) -> Submission:
    """The job that runs `verb` on `config`, a changed `preset`.

    Raises:
        InputError: a setting or a variable that would travel holds credentials.
    """
    from pipelines import presets
    from pipelines.code_version import code_version

    environment = travelling(os.environ)
    changes = differences(config, getattr(presets, preset)())
    words = [verb, preset]
    words += ["--overrides", shell_proof(changes)] if changes else []
    words += ["--run", run] if run else []
    given = {**flatten(config), **environment, "--run": run or ""}
    if problems := list(_credentials(given)):
        raise InputError(problems)
    # Where the job runs is not what it does: other machines, the same job.
    work = {name: value for name, value in to_json(config).items() if name != "cluster"}
    digest = fingerprint(verb, work, run or "", storage.store_root(), code_version())[:12]
    name = f"{verb}-{preset.replace('_', '-')}"[: MAX_NAME - 13].rstrip("-")
    return Submission(f"{name}-{digest}", config, verb, preset, tuple(words), environment)


def travelling(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environment` that a job receives: where things lie, never what opens them."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if value and (name in TRAVELS or name.startswith("AUNET_")) and not SECRET_NAME.search(name)
    }


def shell_proof(changes: Mapping[str, Any]) -> str:
    """`changes` as JSON in which no character means anything to a shell between double quotes.

    KubeRay writes a command into a script and `ray job submit` quotes its words anew: a text that holds `$`, a
    backquote, a single quote or a backslash before a quote would arrive as another.
    """
    escape = re.compile(r"\\\\|\\\"|[$`'!]")
    return escape.sub(lambda found: f"\\u{ord(found[0][-1]):04x}", json.dumps(changes))


def _credentials(given: Mapping[str, Any]) -> Iterator[str]:
    for name, value in given.items():
        if CREDENTIALS.search(str(value)):
            yield (
                f"{name}: holds credentials, which a job must not carry; take them out of it and put them into the "
                f"environment of the cluster, on Kubernetes into the Secret that cluster.secret names"
            )
