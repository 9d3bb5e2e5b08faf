"""One step: the same on however many workers, in whatever number format, and after a checkpoint."""

from __future__ import annotations

import dataclasses
import re
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from aunet.data.shapes import CATEGORIES
from aunet.model import build_model
from aunet.structures import PackedBatch
from pipelines import presets
from pipelines.settings.overrides import override
from pipelines.settings.run_config import RunConfig, TrainConfig
from pipelines.training.checkpoint import Progress, load_state, read_checkpoint, save_checkpoint, state_of
from pipelines.training.optimization import ddp_settings
from pipelines.training.step import TrainingStep
from pipelines.training.timing import exchange_figures
from tests.feeds import scenes, step_decoder
from tests.tiny import TINY

BATCH, STEPS = 4, 3


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config_of(norm: Any = "gn", **train: Any) -> RunConfig:
    model = dataclasses.replace(TINY, backbone=dataclasses.replace(TINY.backbone, norm=norm))
    settings: dict[str, Any] = {
        "num_workers": 1,
        "batch_size": BATCH,
        "warmup_steps": 0,
        "ema": 0.9,
        "precision": "fp32",
    }
    return dataclasses.replace(presets.shapes_smoke(), model=model, train=TrainConfig(**settings | train))


def make(config: RunConfig, rank: int = 0, world_size: int = 1) -> TrainingStep:
    """A rank's step; several ranks have to run at once, in processes of their own."""
    torch.manual_seed(0)
    model: Any = build_model(config.model, CATEGORIES).to(memory_format=torch.channels_last)
    replica = DistributedDataParallel(model, **ddp_settings(model)) if world_size > 1 else model
    return TrainingStep(config, model, replica, torch.device("cpu"), rank, world_size, num_steps=100)


def run(step: TrainingStep, steps: range) -> list[float]:
    """Take these steps; the total losses."""
    decoder = step_decoder(
        scenes(16),
        batch_size=BATCH,
        epochs=9,
        rank=step.rank,
        world_size=step.world_size,
        micro_batches=step.train.micro_batches,
    )
    passes = decoder.accumulate
    return [
        float(step(number, [decoder[number * passes + turn] for turn in range(passes)]).total(step.loss))
        for number in steps
    ]


def weights(step: TrainingStep) -> dict[str, Tensor]:
    learned = [] if step.learned is None else step.learned.named_parameters()
    return {name: value.detach().clone() for name, value in (*step.model.named_parameters(), *learned)}


def apart(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def counted(exchanges, bucket):  # annotated, it would be refused
    exchanges.append(bucket.is_last())
    return allreduce_hook(None, bucket)  # type: ignore[arg-type]


def without_things(batch: PackedBatch) -> PackedBatch:
    """The same images, of which nobody annotated a thing."""
    none = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64), "numbers": np.zeros(0, np.int64)}
    return dataclasses.replace(batch, targets=[dataclasses.replace(target, **none) for target in batch.targets])


def two_ranks(rank: int, folder: str, micro_batch_sizes: list[int]) -> list[tuple[dict[str, Tensor], int]]:
    """Per size: the weights after all steps, and how often gradients were exchanged.

    A last step, which is not among them, has images without things on rank 0.
    """
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    outcomes = []
    try:
        for size in micro_batch_sizes:
            step = make(config_of(num_workers=2, micro_batch_size=size, loss_weighting="uncertainty"), rank, 2)
            exchanges: list[bool] = []
            assert isinstance(step.replica, DistributedDataParallel)
            step.replica.register_comm_hook(exchanges, counted)
            run(step, range(STEPS))
            outcomes.append((weights(step), sum(exchanges)))
            assert exchange_figures(step.replica)["all_reduce_ms"] > 0
            decoder = step_decoder(scenes(16), batch_size=BATCH, epochs=9, rank=rank, world_size=2, micro_batches=2)
            step.add_up_gradients(STEPS, [without_things(decoder[0]) if rank == 0 else decoder[0]])
            assert step.learned is not None
            for name, parameter in (*step.model.named_parameters(), *step.learned.named_parameters()):
                gradient = parameter.grad
                assert gradient is not None, name
                other = gradient.clone()
                distributed.broadcast(other, 0)
                assert torch.equal(gradient, other), name
    finally:
        distributed.destroy_process_group()
    return outcomes


def test_workers_and_passes_make_the_same_step(tmp_path: Path) -> None:
    """Two workers with a pass each and one with two: bit-identical; two with two passes and one with four: rounding."""
    other = get_context("spawn").Process(target=two_ranks, args=(1, str(tmp_path), [2, 1]))
    other.start()
    try:
        (halves, exchanges), (quarters, exchanges_of_two) = two_ranks(0, str(tmp_path), [2, 1])
        other.join()
        assert other.exitcode == 0
        assert exchanges == exchanges_of_two == STEPS  # one a step, however many passes
        alone = {}
        for size in (2, 1, None):
            step = make(config_of(micro_batch_size=size, loss_weighting="uncertainty"))
            run(step, range(STEPS))
            alone[size] = weights(step)
    finally:
        other.kill()
    assert apart(alone[2], halves) == 0
    assert 0 < apart(alone[1], quarters) < 5e-6
    assert apart(alone[2], alone[None]) > 1e-4  # other random numbers: another, equally good step


def test_every_parameter_has_a_gradient_where_no_image_has_things() -> None:
    """So that DDP need not look for parameters without one."""
    step = make(config_of())
    decoder = step_decoder(scenes(16), batch_size=BATCH, epochs=9)
    step.add_up_gradients(0, [without_things(decoder[0])])
    assert [name for name, parameter in step.model.named_parameters() if parameter.grad is None] == []


def test_ddp_looks_for_no_unused_parameters_and_broadcasts_only_what_changes() -> None:
    for norm in ("gn", "bn"):
        settings = ddp_settings(build_model(config_of(norm=norm).model, CATEGORIES))
        assert settings == {
            "find_unused_parameters": False,
            "gradient_as_bucket_view": True,
            "forward_sync_buffers": norm == "bn",
        }


def test_the_phases_of_a_step_are_timed() -> None:
    step = make(config_of(micro_batch_size=2))
    run(step, range(2))
    figures = step.watch.figures(2)
    assert figures.keys() == {"forward_ms", "backward_ms", "optimizer_ms"} and min(figures.values()) > 0


def test_batch_norm_learns_its_statistics_from_every_pass() -> None:
    """More passes, more updates of the running statistics."""
    config = config_of(norm="bn", micro_batch_size=1)
    step = make(config)
    run(step, range(1))
    assert int(step.model.backbone.body.bn1.num_batches_tracked) == BATCH  # type: ignore[union-attr]


@pytest.mark.usefixtures("plain_fp16")
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_checkpoint_between_steps_changes_nothing(precision: str, optimizer: str, tmp_path: Path) -> None:
    weighting = "uncertainty" if optimizer == "adamw" else "fixed"
    config = config_of(
        micro_batch_size=2,
        precision=precision,
        optimizer=optimizer,
        lr=1e-3,
        clip_norm=5.0,
        loss_weighting=weighting,
    )
    unbroken, first, second = (make(config) for _ in range(3))
    for step in (unbroken, first):
        step.scaler.update(2.0**40)  # the first steps overflow in fp16
    losses = run(unbroken, range(4))
    run(first, range(2))
    save_checkpoint(tmp_path, Progress(2), state_of(first.state()), config)
    progress, state = read_checkpoint(tmp_path)
    load_state(state, second.state(), tmp_path)
    assert progress.step == 2
    assert run(second, range(2, 4)) == losses[2:]
    assert apart(weights(unbroken), weights(second)) == 0
    assert ("log_variances" in weights(second)) == (weighting == "uncertainty")
    assert second.scaler.state_dict() == unbroken.scaler.state_dict()
    assert second.scaler.figures() == ({"skipped": 4} if precision == "fp16" else {})


@pytest.mark.usefixtures("plain_fp16")
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_overflow_of_fp16_is_left_out_and_counted(optimizer: str) -> None:
    step = make(config_of(precision="fp16", optimizer=optimizer, lr=1e-3))
    before = weights(step)
    step.scaler.update(2.0**40)
    (loss,) = run(step, range(1))
    assert loss < 100 and apart(before, weights(step)) == 0
    assert step.scaler.figures() == {"skipped": 1} and step.scaler.get_scale() == 2.0**39
    step.scaler.update(2.0**10)
    losses = run(step, range(1, 4))
    assert step.scaler.figures() == {"skipped": 1} and apart(before, weights(step)) > 0
    assert all(torch.isfinite(value).all() for value in weights(step).values()) and max(losses) < 100


@pytest.mark.usefixtures("plain_fp16")
def test_gradients_of_fp16_are_those_of_fp32() -> None:
    grads = []
    for precision in ("fp32", "fp16"):
        step = make(config_of(precision=precision, lr=1e-9, clip_norm=1e6))  # clipping takes the scale out of them
        run(step, range(1))
        grads.append(torch.cat([p.grad.flatten() for p in step.model.parameters() if p.grad is not None]))
    assert float((grads[0] - grads[1]).norm() / grads[0].norm()) < 0.1


def test_fp16_that_no_scale_helps_is_given_up() -> None:
    step = make(config_of(precision="fp16"))
    step.scaler.update(1e-3)
    step.scaler.check()
    step.scaler.update(5e-5)
    with pytest.raises(FloatingPointError, match=r"train\.precision = 'fp16': 0 steps had gradients.*lower train\.lr"):
        step.scaler.check()


class Waiting(TorchDispatchMode):
    """Notes the lines of ours and of torchvision that ask for values of tensors, as a GPU would have to wait for."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_consecutive")

    def __init__(self) -> None:
        super().__init__()
        self.lines: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in self.WAITS:
            stack = traceback.extract_stack()
            places = [(Path(f.filename).name, f.line or "") for f in stack if re.search(OURS, f.filename)]
            self.lines[" ".join(places[-1])] += 1
        return func(*args, **(kwargs or {}))


OURS = r"/(torchvision|aunet|pipelines)/(?!.*test_)"


@pytest.mark.usefixtures("plain_fp16")
def test_a_step_waits_for_the_device_only_where_torchvision_does() -> None:
    """RoIs and anchors are chosen by value; losses, clipping, averaging and the scale of fp16 are not looked at."""
    step = make(config_of(precision="fp16", clip_norm=5.0, optimizer="adamw"))
    decoder = step_decoder(scenes(16), batch_size=BATCH, epochs=9)
    for number in range(2):
        step(number, [decoder[number]])
    with Waiting() as waiting:
        step(2, [decoder[2]])
    ours = {
        line for line in waiting.lines if not line.startswith(("_utils.py", "boxes.py", "pooling.py", "rpn.py", "roi"))
    }
    assert ours == {
        "foreground.py positive = [torch.where(label > 0)[0] for label in labels]",  # as in torchvision
        "optimization.py count = int(self.n_averaged)",  # lies on the CPU
    }
    assert sum(waiting.lines.values()) > 20


def test_presets_keep_the_papers_step_on_fewer_workers() -> None:
    for name in ("coco_r50", "cityscapes_r50"):
        for workers, passes in ((16, 1), (8, 1), (4, 2), (1, 8)):
            train = override(getattr(presets, name)(), {"train.num_workers": workers}).train
            assert (train.batch_size, train.micro_batch_size) == (16, 2)
            assert train.micro_batches == max(workers * passes, 8)
