"""What a cluster job is, wherever it runs: an id that names its work, a command, an environment without credentials."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from aunet.errors import InputError
from pipelines.runtime.code_version import CODE, check_code, code_version
from pipelines.settings.cluster_config import ClusterConfig, pairs
from pipelines.settings.overrides import differences, flatten
from pipelines.settings.run_config import RunConfig, fingerprint, to_json
from pipelines.store import storage
from pipelines.store.addresses import holds_credentials
from pipelines.store.artifacts import VerbResult
from pipelines.targets.patching import with_patch_text
from pipelines.targets.pods import MAX_NAME
from pipelines.targets.variables import GIVEN, JOB, TRAVELS

ENTRY = "pipelines.targets.entry"
"""In place of `jobs`, on Ray: it leaves the job's end and its logs in the store."""


@dataclass(frozen=True, slots=True)
class State:
    """How a job stands, in Ray's words on every target."""

    status: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED; of a schedule SCHEDULED."""
    message: str = ""
    exit_code: int | None = None

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")


@dataclass(frozen=True, slots=True)
class Submission:
    """One job, ready to be sent."""

    id: str
    config: RunConfig
    verb: str
    preset: str
    """"": the verb has none, and its `config` only says where it runs, and on how many processes."""
    words: tuple[str, ...]
    """What follows `python -m jobs`."""
    environment: Mapping[str, str]
    """Variables that travel with it; none holds a credential."""
    code: str = ""
    """Version of the code that it is submitted from."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """What it reads and writes besides what its settings say, by option."""

    @property
    def cluster(self) -> ClusterConfig:
        """Where it runs on Kubernetes."""
        return self.config.cluster

    def pod_environment(self) -> dict[str, str]:
        """Variables of its pods."""
        return {**pod_variables(self.environment, self.cluster, self.code), JOB: self.id}

    def command(self, python: str, module: str = "jobs") -> str:
        """The command for a shell."""
        return shlex.join([python, "-m", module, *self.words])


@dataclass(frozen=True, kw_only=True, slots=True)
class Submitted(VerbResult):
    """What became of a submission; what does not apply to its target is None and no JSON key."""

    submission_id: str
    target: str
    cron_job: str | None = None
    """Name of the schedule, where it is one."""
    arguments: dict[str, Any] | None = None
    """Of a pipeline that would be sent."""
    status: str | None = None
    """As in `State`; None: nothing was to be sent."""
    run_id: str | None = None
    """Of a pipeline's run."""
    sent: bool | None = None
    """Whether this call sent it."""
    message: str | None = None
    job_exit_code: int | None = None
    """Of a job that was waited for; in JSON `exit_code`."""
    manifest: str = ""
    """What would be sent; no JSON key."""

    def to_json(self) -> dict[str, Any]:
        plain = asdict(self)
        del plain["manifest"]
        plain["exit_code"] = plain.pop("job_exit_code")
        return {name: value for name, value in plain.items() if value is not None}

    @property
    def text(self) -> str:
        """The manifest."""
        return self.manifest

    @property
    def exit_code(self) -> int:
        """The job's, where it was waited for."""
        return self.job_exit_code or 0


class SentJobs(Protocol):
    """The jobs of a target, however they were sent."""

    def state(self, id: str) -> State | None:
        """How the job stands; None: no job has this id."""
        ...

    def follow(self, id: str) -> State:
        """Show the log on stderr until the job has ended."""
        ...

    def logs(self, id: str) -> str:
        """What the job has printed so far."""
        ...

    def stop(self, id: str) -> None:
        """End it."""
        ...


class Jobs(SentJobs, Protocol):
    """A target that runs one verb as one job; a pipeline is sent in another way."""

    def render(self, submission: Submission) -> str:
        """What would be sent, as YAML."""
        ...

    def send(self, submission: Submission) -> None:
        """Start it, in place of one of the same id that has ended."""
        ...


def submission(
    config: RunConfig,
    *,
    verb: str,
    preset: str,
    base: RunConfig,
    run: str | None = None,
    keep: Mapping[str, Any] | None = None,
    code: str | None = None,
) -> Submission:
    """The job that runs `verb` on `config`, a changed `preset`.

    Args:
        base: the preset's own configuration, unchanged.
        run: the run that the verb works on.
        keep: settings that the job receives even where the preset has the same, by dotted names.
        code: version of the code, part of the id; None: this checkout's.

    Raises:
        InputError: a setting or a variable that would travel holds credentials; they are not repeated.
    """
    check_code(os.environ)
    config, environment = with_patch_text(config), travelling(os.environ)
    changes = {**(keep or {}), **differences(config, base)}
    if config.data.shapes is None and (root := _from_any_folder(config.data.root)) != config.data.root:
        changes["data.root"] = root
    run = _from_any_folder(run) if run else None
    words = [verb, preset]
    words += ["--overrides", shell_proof(changes)] if changes else []
    words += ["--run", run] if run else []
    check_credentials(config, {**environment, "--run": run or ""})
    # Where the job runs is not what it does: other machines, the same job.
    work = {name: value for name, value in to_json(config).items() if name != "cluster"}
    code = code or code_version()
    digest = fingerprint(verb, work, run or "", storage.store_root(), code, *filter(None, [keep]))[:12]
    name = f"{verb}-{preset.replace('_', '-')}"[: MAX_NAME - 13].rstrip("-")
    addresses = {"--run": run} if run else {}
    return Submission(f"{name}-{digest}", config, verb, preset, tuple(words), environment, code, addresses)


def _from_any_folder(uri: str) -> str:
    """The same for a job, which starts in another folder."""
    return uri if storage.is_remote(uri) else storage.absolute(uri)


def travelling(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environment` that a job receives: where things are, never what opens them."""
    given = environment[GIVEN].split(",") if GIVEN in environment else TRAVELS
    return {name: environment[name] for name in sorted(TRAVELS) if environment.get(name) and name in given}


def pod_variables(environment: Mapping[str, str], cluster: ClusterConfig, code: str) -> dict[str, str]:
    """Variables of pods: what travels, what `cluster.env` adds, and what tells them where these come from."""
    given = {**environment, **pairs(cluster.env)}
    return {**given, GIVEN: ",".join(sorted(given)), CODE: code}


def shell_proof(changes: Mapping[str, Any]) -> str:
    """`changes` as JSON in which no character means anything to a shell between double quotes.

    KubeRay writes a command into a script and `ray job submit` quotes its words again: a text that holds `$`, a
    backquote, a single quote or a backslash before a quote would arrive changed.
    """
    escape = re.compile(r"\\\\|\\\"|[$`'!]")
    return escape.sub(lambda match: f"\\u{ord(match[0][-1]):04x}", json.dumps(changes))


def check_credentials(config: RunConfig, more: Mapping[str, str]) -> None:
    """Refuse what holds credentials: a setting, or something else that would travel, by its name.

    Raises:
        InputError: some do; they are not repeated.
    """
    values = {**flatten(config), **more}
    if named := [name for name, value in values.items() if holds_credentials(str(value))]:
        raise InputError(
            f"{name}: holds credentials, which a job must not carry; remove them and put them into the "
            f"environment of the cluster, on Kubernetes into the Secret that cluster.secret names"
            for name in named
        )
