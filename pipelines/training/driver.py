"""The driver of a training run: attempts until the last step is saved, then the model, the artifact and MLflow."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from aunet.errors import InputError, Unavailable
from pipelines.runtime.board import open_board
from pipelines.runtime.cluster import connect, missing_workers, possible_workers, resources
from pipelines.runtime.code_version import code_version
from pipelines.runtime.events import Event
from pipelines.runtime.growth import demand, halved, make_room, shortage, training_bundles
from pipelines.runtime.interruption import Preempted, Signals, Stopped, caught_signals
from pipelines.runtime.nodes import free_resources, healthy_resources
from pipelines.runtime.progress import Console
from pipelines.runtime.run_metrics import RunMetrics
from pipelines.settings.overrides import flatten
from pipelines.settings.run_config import RunConfig, to_json
from pipelines.store.artifacts import PreparedData, TrainedRun
from pipelines.store.checkpoints import Checkpoint
from pipelines.store.holding import Lost
from pipelines.store.layout import Store
from pipelines.store.lease import Lease
from pipelines.store.run_folder import RunFolder
from pipelines.tracking import runs as tracking
from pipelines.tracking.notes import NOTE, run_note
from pipelines.tracking.tracker import Tracker
from pipelines.training.advice import advice
from pipelines.training.assignment import Assignment
from pipelines.training.attempt import Attempt
from pipelines.training.checkpoint import DamagedCheckpoint
from pipelines.training.following import drive_or_follow
from pipelines.training.identity import plan_of, run_folder
from pipelines.training.record import RunRecord
from pipelines.training.release import publish, released
from pipelines.training.supervision import AttemptOutcome, Supervisor
from pipelines.training.validation import Validations

RELEASE_SECONDS = 15.0
"""Until the cluster knows that an attempt that has ended holds nothing any more."""


def train_run(
    config: RunConfig,
    prepared: PreparedData,
    *,
    parent: str | None = None,
    listeners: Sequence[Callable[[Event], None]] | None = None,
    stop: Callable[[Event], bool] | None = None,
    audit_uri: str = "",
) -> TrainedRun:
    """Train to the end of the plan, from the newest checkpoint of the same run where there is one.

    Where another process drives the run already, this one shows its progress and returns its result, or continues if
    it dies.

    Args:
        parent: id of the MLflow run that this one belongs to, as a trial to its study.
        listeners: called with every event of the run (see `board`); None: the console.
        stop: asked after every evaluation, with its event, whether to end the run there; the workers wait for it.
        audit_uri: folder in which every rank notes the images that reach the network; empty: nobody asks.

    Raises:
        Stopped: `stop` ended the run; the same call continues from the newest checkpoint.
        Preempted: this process received SIGTERM; so does it.
        InputError: the cluster has fewer CPUs or GPUs than the run needs, or a worker found what it would find again.
        Unavailable: the workers were lost again and again, or the cluster was, or its nodes before the first worker.
        Held: somebody else drives the run, and `train.when_running` refuses that.
    """
    folder = run_folder(config, prepared)
    if finished := folder.trained():
        return finished
    if missing_workers(config.train, config.feed, resources()):
        counts = halved(config.train.max_workers, config.train.min_workers)
        make_room([training_bundles(config.train, config.feed, number) for number in counts])
    if missing := missing_workers(config.train, config.feed, resources()):
        raise shortage(missing)
    connect()
    Store.here().claim()
    shown = [Console(f"train {config.name}")] if listeners is None else listeners
    if listeners is None:
        for text in advice(config, prepared.num_images["train"]):
            print(f"warning: {text}", file=sys.stderr)
    with caught_signals() as signals:
        return drive_or_follow(
            folder,
            shown,
            config.train.when_running,
            lambda lease: Driver(config, prepared, folder, lease, signals, shown, parent, stop, audit_uri).run(),
            signals=signals,
        )


class Driver:
    """The one process that drives a run, as long as it holds the lease."""

    def __init__(
        self,
        config: RunConfig,
        prepared: PreparedData,
        folder: RunFolder,
        lease: Lease,
        signals: Signals,
        listeners: Sequence[Callable[[Event], None]],
        parent: str | None,
        stop: Callable[[Event], bool] | None,
        audit_uri: str,
    ) -> None:
        self.config, self.prepared, self.folder = config, prepared, folder
        self.lease, self.signals, self.stop = lease, signals, stop
        self.listeners, self.parent, self.audit_uri = listeners, parent, audit_uri
        self.plan = plan_of(config, prepared.num_images["train"])
        self.validations = Validations(config, prepared.uri, self.plan)

    def run(self) -> TrainedRun:
        """Train what is left, and commit the run."""
        folder, config = self.folder, self.config
        folder.write_config(to_json(config))
        record = RunRecord(folder.history, self.listeners)
        if config.train.validate == "beside":
            for checkpoint in folder.checkpoints.complete():
                if checkpoint.step not in record.quality:
                    self.validations.add(checkpoint)
        tags = {"data_fingerprint": self.prepared.fingerprint, "code_version": code_version(), NOTE: self._note()}
        mlflow_run_id = tracking.run_once(
            folder.mlflow_id_uri, folder.name, params=flatten(config), tags=tags, parent=self.parent
        )
        tracker = Tracker(mlflow_run_id, history=record.events)
        metrics = RunMetrics(config.name, folder.name, record.goodput)
        record.listeners = [*self.listeners, tracker.log_event, metrics]
        status: str | None = "FAILED"
        try:
            record.add("origin", 0, prepared=self.prepared.uri, data=self.prepared.fingerprint, code=code_version())
            checkpoint = self._train(record)
            self.lease.check()
            record.add(
                "end", checkpoint.step, text=f"finished after step {checkpoint.step}{_in_words(record.goodput())}"
            )
            folder.history.join()
            run = TrainedRun(
                uri=folder.uri,
                fingerprint=folder.name,
                model_uri=folder.model_uri,
                mlflow_run_id=mlflow_run_id,
                steps=checkpoint.step,
            )
            folder.finish(run)
            status = "FINISHED"
            return run
        except (Stopped, Preempted, KeyboardInterrupt):
            status = "KILLED"
            raise
        except Lost:
            status = None  # another one drives the run, and says how it ends
            raise
        except RayError as error:
            reason = " ".join(str(error).split())[:300]
            raise Unavailable(f"{folder.uri}: the Ray cluster was lost ({reason}); the same command resumes") from error
        finally:
            for warning in tracker.conclude(status):
                print(warning, file=sys.stderr)

    def _note(self) -> str:
        """The run's description in MLflow."""
        facts = {
            "configuration": self.config.name,
            "run": self.folder.uri,
            "data": f"{self.prepared.fingerprint} in {self.prepared.uri}",
            "steps": str(self.plan.num_steps),
            "where it comes from": f"python -m jobs lineage {self.folder.uri}",
            "again": f"python -m jobs reproduce {self.folder.uri}",
        }
        return run_note(facts)

    def _train(self, record: RunRecord) -> Checkpoint:
        """Attempts until the run is complete. Returns the checkpoint whose model was published."""
        if (released := self._release(record)) is not None:
            return released
        with open_board() as board:
            supervisor = Supervisor(
                self.config, self.folder, board, record, self.validations, self.lease, self.signals, self.stop
            )
            supervisor.interruption = record.interruption
            failures = 0
            while (released := self._release(record)) is None:
                outcome = self._attempt(supervisor, board)
                failures = 0 if supervisor.has_saved else failures
                failures += self._judge(outcome, record, failures)
                supervisor.interruption = supervisor.interruption or outcome.cause
        return released

    def _attempt(self, supervisor: Supervisor, board: Any) -> AttemptOutcome:
        """Train with as many workers as the cluster has now."""
        workers = self._workers(supervisor)
        record = supervisor.record
        best_pq, best_steps = record.best
        assignment = Assignment(
            config=self.config,
            prepared_uri=self.prepared.uri,
            run_uri=self.folder.uri,
            attempt=uuid.uuid4().hex[:8],
            is_answered=self.config.train.validate == "inline" and bool(self.stop or self.config.train.patience),
            best_pq=best_pq,
            best_steps=best_steps,
            fence=self.lease.fence,
            audit_uri=self.audit_uri,
        )
        wanted = record.wanted(self.config.train.patience)
        ray.get(board.begin.remote(wanted, self.validations.measured))
        return supervisor.watch(Attempt(assignment, board, workers))

    def _workers(self, supervisor: Supervisor) -> int:
        """How many there is room for beside what others hold, or the fewest, which wait for that.

        Where the cluster has too little, an autoscaler is asked for more until it has.
        """
        train, feed = self.config.train, self.config.feed
        if not (workers := possible_workers(train, feed, healthy_resources())):
            with demand(training_bundles(train, feed, train.min_workers)):
                while not (workers := possible_workers(train, feed, healthy_resources())):
                    supervisor.wait()
        released = time.monotonic() + RELEASE_SECONDS
        while workers > train.min_workers and (free := possible_workers(train, feed, free_resources())) < workers:
            if time.monotonic() > released:
                return max(free, train.min_workers)
            supervisor.wait()
        return workers

    def _judge(self, outcome: AttemptOutcome, record: RunRecord, failures: int) -> int:
        """Whether an attempt counts as a failure; raises where no other may follow."""
        step = record.last_step
        if outcome.ending == "signal":
            text = f"ended by {self.signals.name}; {f'{outcome.cause}; ' * bool(outcome.cause)}the same command resumes"
            record.add("end", step, text=text)
            raise KeyboardInterrupt(text) if self.signals.name == "SIGINT" else Preempted(f"{self.folder.uri}: {text}")
        if outcome.ending == "stopped":
            raise Stopped(f"{self.folder.uri} was ended early")
        if not outcome.cause or outcome.ending in ("drained", "grown"):
            return 0
        if outcome.is_final:
            record.add("end", step, text=outcome.cause)
            raise (Unavailable if outcome.passes else InputError)(f"{self.folder.uri}: {outcome.cause}")
        if failures >= self.config.train.max_failures:
            record.add("end", step, text=outcome.cause)
            raise Unavailable(
                f"{self.folder.uri}: {outcome.cause}; {failures + 1} times without a new checkpoint between "
                f"(train.max_failures = {self.config.train.max_failures}); its checkpoints are kept, the same command "
                "resumes"
            )
        return 1

    def _release(self, record: RunRecord) -> Checkpoint | None:
        """Publish the model if all is trained and measured; None: there is something left to train.

        Where patience ran out, what was trained while that was measured counts no more.
        """
        while checkpoints := self.folder.checkpoints.complete():
            end = record.exhausted_at(self.config.train.patience) or self.plan.num_steps
            last = next((n for n, checkpoint in enumerate(checkpoints, start=1) if checkpoint.step >= end), None)
            if last is None:
                return None
            while self.validations.waiting:
                for event in self.validations.poll(1.0):
                    record.insert(event)
                if self.lease.lost:
                    self.lease.check()
                self.signals.check(f"{self.folder.uri}: trained, and not all checkpoints are measured")
            checkpoint = released(self.config, checkpoints[:last], record.quality)
            try:
                self.lease.check()
                publish(self.config, self.prepared.uri, checkpoint, self.folder.model_uri, self.lease.check)
                return checkpoint
            except DamagedCheckpoint as error:
                checkpoint.mark_damaged(str(error))
                record.add(
                    "warning", checkpoint.step, text=f"checkpoint of step {checkpoint.step} is damaged ({error})"
                )
        return None


def _in_words(goodput: float | None) -> str:
    return "" if goodput is None else f"; {goodput:.0%} of the time since its start went into steps that count"
