"""The runs of a proof, and the comparison of what they end with."""

from __future__ import annotations

import datetime
import os
import platform
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from aunet.errors import Unavailable
from pipelines.settings.run_config import RunConfig
from pipelines.store.artifacts import PreparedData
from pipelines.store.layout import Store
from pipelines.store.proof_folder import ProofFolder
from pipelines.tracking.address import VARIABLE, sqlite_uri
from pipelines.training.checkpoint import stored_state
from pipelines.training.identity import plan_of, run_id
from pipelines.training.proving.audit import computed, consumed, lost_and_doubled, planned
from pipelines.training.proving.campaign import KINDS, Campaign, Kind, possible_kinds, schedule
from pipelines.training.proving.certificate import (
    Certificate,
    goodput_of,
    num_recomputed,
    records_of,
    step_seconds,
    totals_of,
)
from pipelines.training.proving.damaging import degrade
from pipelines.training.proving.driving import Task
from pipelines.training.proving.states import deviation, hashes_of

WITHOUT_PROTECTION: tuple[Kind, ...] = ("driver",)
"""What can be done where a checkpoint must be spoiled while nobody runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """One proof: a configuration, its prepared data, and where everything goes."""

    config: RunConfig
    prepared: PreparedData
    folder: ProofFolder
    scratch: Path
    """A folder of this machine for the tracking databases of the runs."""
    seed: int
    """Of the faults and their steps."""

    def campaign(self, name: str) -> Campaign:
        """One of its runs, not begun."""
        store = Store(self.folder.store_uri(name))
        task = Task(
            config=self.config,
            prepared=self.prepared,
            environment={"AUNET_STORE": store.uri, VARIABLE: sqlite_uri(self.scratch / f"{name}.db")},
            audit_uri=self.folder.audit_uri(name),
        )
        return Campaign(task, store.run(run_id(self.config, self.prepared)).checkpoints, self.seed)

    def undisturbed(self, name: str) -> Campaign:
        """A run to its end, without a fault.

        Raises:
            Unavailable: it did not come to its end.
        """
        campaign = self.campaign(name)
        campaign.run([])
        if campaign.error:
            raise Unavailable(f"the undisturbed run broke off: {campaign.error}; its own message is above")
        return campaign

    def certify(
        self, undisturbed: Campaign, kills: int, counts: Mapping[Kind, int], *, without_protection: bool
    ) -> Certificate:
        """Run it once more with faults, and compare.

        Args:
            kills: faults of all kinds in turn.
            counts: faults of each kind, instead; may be empty.
            without_protection: kill only drivers, and leave of each newest checkpoint what other trainers keep.

        Raises:
            Unavailable: the run with faults has left no checkpoint.
        """
        disturbed = self.campaign("disturbed")
        kinds, plan = possible_kinds(disturbed.checkpoints), plan_of(self.config, self.prepared.num_images["train"])
        if without_protection:
            kinds, counts = WITHOUT_PROTECTION, dict.fromkeys(WITHOUT_PROTECTION, kills)
            disturbed.spoil = partial(degrade, disturbed.checkpoints, self.config, plan)
        faults = schedule(counts or in_turn(kills, kinds, self.seed), plan.num_steps, self.seed)
        disturbed.run(faults)
        certificate = self._compare(undisturbed, disturbed, len(faults))
        if self.config.train.use_gpu and not certificate.identical and not disturbed.error:
            one, other = _final(undisturbed), _final(self.undisturbed("repeat"))
            certificate = replace(certificate, repeat_deviation=deviation(one, other))
        left_out = tuple(kind for kind in KINDS if kind not in kinds)
        return replace(certificate, is_protected=not without_protection, left_out=left_out)

    def _compare(self, undisturbed: Campaign, disturbed: Campaign, requested: int) -> Certificate:
        *earlier, last = undisturbed.checkpoints.complete()
        expected, before = stored_state(last)[1], stored_state(earlier[-1])[1]
        if not (stored := disturbed.checkpoints.complete()):
            raise Unavailable(f"{disturbed.checkpoints.uri}: no checkpoint is left; {disturbed.error}")
        progress, state = stored_state(stored[-1])
        entries, quiet = computed(disturbed.task.audit_uri), computed(undisturbed.task.audit_uri)
        records = records_of(disturbed.faults, entries, not disturbed.error and progress.step == last.step)
        lost, doubled = lost_and_doubled(planned(self.config, self.prepared.uri), consumed(entries, progress))
        ours, theirs = hashes_of(state), hashes_of(expected)
        by_kind = totals_of(records)
        lost_seconds = {kind: total.seconds for kind, total in by_kind.items()}
        others = disturbed.seconds - step_seconds(quiet) * last.step - sum(lost_seconds.values())
        return Certificate(
            faults=len(records),
            requested=requested,
            survived=sum(record.survived for record in records),
            identical=ours == theirs,
            lost=lost,
            doubled=doubled,
            steps_recomputed=num_recomputed(entries),
            goodput=goodput_of(last.step, quiet, disturbed.seconds),
            by_kind=by_kind,
            lost_seconds={**lost_seconds, "start, end and slower steps": max(0.0, others)},
            hashes={name: (theirs.get(name, ""), ours.get(name, "")) for name in {**theirs, **ours}},
            earlier_differs=hashes_of(before)["model"] != theirs["model"],
            deviation=deviation(expected, state),
            error=disturbed.error,
            preset=self.config.name,
            steps=last.step,
            workers=self.config.train.num_workers,
            seed=self.seed,
            seconds=(undisturbed.seconds, disturbed.seconds),
            machine=f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            records=tuple(records),
        )


def in_turn(kills: int, kinds: tuple[Kind, ...], seed: int) -> dict[Kind, int]:
    """So many faults of the given kinds in turn; where there are fewer faults than kinds, the seed decides."""
    order = random.Random(seed).sample(kinds, len(kinds))
    return {kind: len(range(number, kills, len(order))) for number, kind in enumerate(order)}


def _final(campaign: Campaign) -> dict[str, Any]:
    """The state at the end of a run."""
    return stored_state(campaign.checkpoints.complete()[-1])[1]
