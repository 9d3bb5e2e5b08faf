"""Where jobs run on Kubernetes, and how they end: nothing here changes what a job computes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from aunet.errors import check
from aunet.ranges import Range, check_ranges

Gigabytes = Annotated[int, Range(at_least=1, at_most=100_000)]
Cores = Annotated[int, Range(at_least=1, at_most=10_000)]
KUBERNETES_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DOMAIN_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
CRON = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("weekday", 0, 6, WEEKDAYS),
)
"""Fields of a schedule: first and last value, names of all. To Kubernetes and Kubeflow Sunday is 0 and never 7."""
CRON_RANGE = re.compile(r"(?:\*|([0-9A-Za-z]{1,3})(?:-([0-9A-Za-z]{1,3}))?)(?:/([0-9]{1,3}))?")
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,252}")
Pairs = tuple[str, ...]
"""Texts of the form KEY=VALUE."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """Where jobs run on Kubernetes, and how they end. Credentials are named here, never stored."""

    image: str = ""
    """Image of the head and the workers, with a version or a digest; built from the Dockerfile."""
    step_image: str = ""
    """Image of a Kubeflow pipeline's steps: the Dockerfile's target `pipeline`, which has kfp."""
    namespace: str = "default"
    service_account: str = "aunet"
    secret: str = "aunet"
    """Kubernetes Secret whose keys become environment variables: AWS_…, MLFLOW_TRACKING_URI, …"""
    gpus_per_node: Annotated[int, Range(at_least=0, at_most=1000)] = 8
    cpus_per_node: Cores = 32
    memory_gb: Gigabytes = 192
    """Per node."""
    shm_gb: Gigabytes = 32
    """/dev/shm per node: Ray's object store and the loaders' batches."""
    small_cpus: Cores = 8
    """Of a node without GPUs, on which verbs run that neither train nor evaluate."""
    small_memory_gb: Gigabytes = 32
    head_cpus: Cores = 4
    """Of the head, which runs the driver and no work."""
    head_memory_gb: Gigabytes = 16
    spot: bool = True
    """Whether worker nodes may be pre-emptible."""
    deadline_hours: Annotated[float, Range(at_least=0.001, at_most=5000)] = 72.0
    """A job that runs longer is stopped; its checkpoints are kept."""
    retries: Annotated[int, Range(at_least=0, at_most=100)] = 3
    """How many times a job that was lost is started again; it resumes. One that is wrong or refused is not."""
    keep_hours: Annotated[float, Range(at_least=0, at_most=5000)] = 0.0
    """How long the cluster of a finished job is kept, GPUs included; its log is kept anyway."""
    schedule: str = "0 3 * * *"
    """When a scheduled job starts: five cron fields, UTC."""
    queue: str = ""
    """Kueue's LocalQueue in which jobs wait for their turn; empty: no Kueue."""
    priority_class: str = ""
    runtime_class: str = ""
    pull_secrets: tuple[str, ...] = ()
    """Secrets that open the image's registry."""
    node_selector: Pairs = ()
    """Labels that the workers' nodes have, as KEY=VALUE."""
    labels: Pairs = ()
    """Of every object and pod, as KEY=VALUE."""
    annotations: Pairs = ()
    """Of every pod, as KEY=VALUE."""
    env: Pairs = ()
    """Further variables of the pods, as KEY=VALUE; no credentials."""
    patch: str = ""
    """YAML file, or its text, with what else the cluster wants: `rayjob`, and the pod templates `head`, `workers`,
    `submitter` and `tick`, each merged as `kubectl patch` does."""

    def __post_init__(self) -> None:
        check_ranges(self, "cluster")
        names = {name: (getattr(self, name),) for name in ("namespace", "service_account", "secret")}
        optional = {"queue": (self.queue,) if self.queue else (), "pull_secrets": self.pull_secrets}
        for field, values in {**names, **optional}.items():
            for value in values:
                cure = "use lower-case letters, digits and hyphens, at most 63"
                check(KUBERNETES_NAME.fullmatch(value) is not None, f"cluster.{field}", value, cure)
        for field in ("priority_class", "runtime_class"):
            value = getattr(self, field)
            fits = not value or DOMAIN_NAME.fullmatch(value) is not None
            check(fits, f"cluster.{field}", value, "use lower-case letters, digits, hyphens and dots")
        for field in ("image", "step_image"):
            value = getattr(self, field)
            cure = "give the name of an image, such as registry.example.com/aunet:1.0.0"
            check(not value or IMAGE.fullmatch(value) is not None, f"cluster.{field}", value, cure)
        self._check_schedule()
        for field, value_form in (("node_selector", LABEL_VALUE), ("labels", LABEL_VALUE), ("annotations", None)):
            self._check_pairs(field, LABEL_KEY, value_form)
        self._check_pairs("env", VARIABLE, None)

    def _check_schedule(self) -> None:
        fields = self.schedule.split(" ")
        check(len(fields) == len(CRON), "cluster.schedule", self.schedule, 'give five cron fields, such as "0 3 * * *"')
        for field, (name, first, last, names) in zip(fields, CRON, strict=True):
            fits = all(_is_cron_range(range_text, first, last, names) for range_text in field.split(","))
            cure = (
                f"its {name} is {field!r}; use *, or {first} to {last}, as numbers, ranges 1-3, steps */2 and lists 1,4"
            )
            check(fits, "cluster.schedule", self.schedule, cure)

    def _check_pairs(self, field: str, key_form: re.Pattern[str], value_form: re.Pattern[str] | None) -> None:
        for pair in getattr(self, field):
            key, equals, value = pair.partition("=")
            fits = bool(equals) and key_form.fullmatch(key) is not None
            fits = fits and (value_form is None or value_form.fullmatch(value) is not None)
            check(fits, f"cluster.{field}", pair, "write KEY=VALUE with a key and a value that Kubernetes accepts")


def _is_cron_range(text: str, first: int, last: int, names: tuple[str, ...]) -> bool:
    """Whether a cron field may have this among its commas."""
    match = CRON_RANGE.fullmatch(text)
    if match is None or (match[3] and not int(match[3])):
        return False
    values = {name: first + number for number, name in enumerate(names)}
    ends = [values.get(end.upper(), int(end) if end.isdecimal() else -1) for end in match.groups()[:2] if end]
    return all(first <= end <= last for end in ends) and ends == sorted(ends)


def pairs(texts: Pairs) -> dict[str, str]:
    """Keys and values of texts of the form KEY=VALUE."""
    return {key: value for key, _, value in (text.partition("=") for text in texts)}
