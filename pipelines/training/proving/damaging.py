"""What `prove` does to checkpoints while nobody runs."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from pipelines.data.sample_plan import SamplePlan
from pipelines.settings.run_config import RunConfig
from pipelines.store import storage
from pipelines.store.checkpoints import Checkpoint, Checkpoints
from pipelines.store.hashes import upload_hashed
from pipelines.training.checkpoint import save_checkpoint, stored_state


def flip_a_bit(checkpoint: Checkpoint, dice: random.Random) -> str:
    """Change one bit of one file of a checkpoint; in words, which."""
    files = [file for file in storage.list_files(checkpoint.uri) if file.size]
    file = dice.choice(files)
    bit = dice.randrange(8 * file.size)
    data = bytearray(storage.read_bytes(storage.join(checkpoint.uri, file.path)))
    data[bit // 8] ^= 1 << bit % 8
    storage.write_bytes(storage.join(checkpoint.uri, file.path), bytes(data))
    return f"bit {bit} of {file.path} in the checkpoint of step {checkpoint.step}"


def degrade(checkpoints: Checkpoints, config: RunConfig, plan: SamplePlan) -> str:
    """Leave of the newest checkpoint what a trainer keeps that saves weights by epoch; in words, what that was.

    The weights stay, the optimiser forgets its moments, and the cursor goes back to the start of the epoch. The hashes
    are those of the new content, as where nobody compares any.
    """
    complete = checkpoints.complete()
    if not complete:
        return "no checkpoint"
    progress, state = stored_state(complete[-1])
    first = -(-int(plan.epoch_of(progress.step)) * plan.num_samples // plan.batch_size)
    state["optimizer"] = {**state["optimizer"], "state": {}}
    with tempfile.TemporaryDirectory() as scratch:
        save_checkpoint(Path(scratch), progress._replace(step=first), state, config)
        upload_hashed(Path(scratch), checkpoints.new(first).uri)
    for checkpoint in complete:
        checkpoint.delete()
    return f"the checkpoint of step {progress.step}: no optimiser state, cursor at step {first}"
