"""A loss that is not finite stops the run, names the step and the images, and is in no checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from aunet.losses import Losses
from pipelines.training.finite_losses import FiniteLosses


def losses(*values: float) -> Losses:
    return Losses(*(torch.tensor(value) for value in (values * 4)[:4]))


@pytest.fixture
def watch(tmp_path: Path) -> FiniteLosses:
    return FiniteLosses(str(tmp_path / "not_finite-3.json"), 3, torch.device("cpu"))


def see(watch: FiniteLosses, step: int, value: float, *images: int) -> None:
    watch.see(step, losses(value), torch.tensor(value), list(images))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_bad_step_is_named_with_its_images(watch: FiniteLosses, tmp_path: Path, value: float) -> None:
    for step in (1, 2, 3):
        see(watch, step, 1.0, step)
    see(watch, 4, value, 40, 41)
    see(watch, 5, float("nan"), 50)
    see(watch, 6, 1.0, 60)
    with pytest.raises(FloatingPointError, match=r"step 4: loss .* on images \[40, 41\] of rank 3; look at these"):
        watch.check()
    record = json.loads((tmp_path / "not_finite-3.json").read_bytes())
    assert (record["step"], record["images"]) == (4, [40, 41])


def test_numbers_pass_and_are_forgotten(watch: FiniteLosses, tmp_path: Path) -> None:
    for step in range(1, 30):
        see(watch, step, 1e30, step)
        if step % 10 == 0:
            watch.check([torch.zeros(3)])
            assert not watch.recent
    assert len(watch.recent) == 9 and not list(tmp_path.iterdir())


def test_weights_are_looked_at_before_they_are_kept(watch: FiniteLosses) -> None:
    see(watch, 1, 1.0, 7)
    watch.check()
    see(watch, 2, 1.0, 8, 9)
    weights = [torch.zeros(2), torch.tensor([0.0, float("nan")])]
    with pytest.raises(FloatingPointError, match=r"step 2: weights that are not finite.*images \[8, 9\]"):
        watch.check(weights)
