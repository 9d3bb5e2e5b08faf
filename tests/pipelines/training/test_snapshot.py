"""A copy of the state does not change when the state does, and is made in the same memory."""

from __future__ import annotations

import torch

from pipelines.training.snapshot import Snapshot


def test_a_copy_stays_as_it_was() -> None:
    weight = torch.arange(24.0).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last)
    state = {"model": {"w": weight, "n": torch.tensor(3)}, "groups": [{"lr": 0.1, "params": [0, 1]}], "none": None}
    snapshot = Snapshot()
    copy = snapshot.take(state)
    snapshot.wait()
    weight.zero_()
    assert copy["model"]["w"].sum() == 276 and copy["model"]["n"] == 3
    assert copy["model"]["w"].is_contiguous(memory_format=torch.channels_last)
    assert copy["groups"] == state["groups"] and copy["none"] is None
    address = copy["model"]["w"].data_ptr()
    again = snapshot.take(state)
    assert again["model"]["w"].data_ptr() == address and again["model"]["w"].sum() == 0


def test_a_state_that_grows_is_copied_whole() -> None:
    snapshot = Snapshot()
    snapshot.take({"a": torch.ones(2)})
    copy = snapshot.take({"momentum": torch.zeros(5), "a": torch.ones(2)})
    assert copy["momentum"].shape == (5,) and copy["a"].sum() == 2
