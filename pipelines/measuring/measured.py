"""Models that were measured: the outcomes beside their reports."""

from __future__ import annotations

from dataclasses import dataclass

from aunet.categories import Categories
from aunet.errors import InputError
from aunet.evaluation.outcomes import Outcomes
from pipelines.measuring.outcome_table import Tags, from_parquet
from pipelines.store import storage
from pipelines.store.run_folder import ReportFolder, RunFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What happened to every segment of some images."""

    outcomes: Outcomes
    categories: Categories
    tags: Tags
    """What is known of each image."""
    validation: str = ""
    """Fingerprint of the validation split; empty: it is none."""


def reports_with_outcomes(run: RunFolder) -> dict[str, ReportFolder]:
    """Fingerprint of a validation split → the report of a run on it, the run's own first.

    Reports that are damaged, or that an earlier version wrote, are left out.
    """
    folders: dict[str, ReportFolder] = {}
    for folder in run.reports():
        if folder.report() and storage.exists(folder.outcomes_uri):
            try:
                folders.setdefault(folder.split_fingerprint(), folder)
            except InputError:
                continue
    return folders


def read_measured(folder: ReportFolder) -> Measured:
    """The outcomes beside a report.

    Raises:
        InputError: they are damaged, or there are none.
    """
    outcomes, tags, categories = from_parquet(storage.read_bytes(folder.outcomes_uri), folder.outcomes_uri)
    return Measured(outcomes=outcomes, categories=categories, tags=tags, validation=folder.split_fingerprint())
