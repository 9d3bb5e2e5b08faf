"""Random numbers are common: networks that share a part share its initial weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from aunet.config import AUNetConfig
from aunet.model import build_model
from aunet.model.initialization import seeded
from pipelines.presets import camvid_small
from pipelines.settings.variants import TABLE_1, table_1_row
from tests.tiny import CATEGORIES, TINY


def initial(config: AUNetConfig, seed: int = 0, drawn: int = 0) -> dict[str, torch.Tensor]:
    """The weights of a new network, after some random numbers were drawn for something else."""
    torch.manual_seed(seed)
    torch.rand(drawn)
    return build_model(config, CATEGORIES).state_dict()


def row(name: str) -> AUNetConfig:
    """A row of Table 1 with the widths of `TINY`."""
    config = table_1_row(camvid_small(), name).model
    return replace(TINY, attention=replace(config.attention, channels=8), shared_backbone=config.shared_backbone)


def test_rows_of_table_1_share_all_that_they_have_in_common() -> None:
    whole = initial(row("aunet"))
    for name in TABLE_1:
        state = initial(row(name), drawn=len(name))
        own = {n for n in state.keys() - whole.keys() if not n.startswith("background_backbone.")}
        differing = [n for n in state.keys() & whole.keys() if not torch.equal(state[n], whole[n])]
        assert not own and not differing, (name, own, differing)
        assert len(state) >= len(initial(row("e2e")))


def test_another_seed_is_another_network() -> None:
    first, second = initial(TINY, 0), initial(TINY, 1)
    random = [n for n, w in first.items() if n.endswith("weight") and w.ndim > 1]
    assert len(random) > 30 and not any(torch.equal(first[n], second[n]) for n in random)


def test_parts_of_one_kind_differ() -> None:
    state = initial(replace(row("aunet"), shared_backbone=False))
    levels = [state[f"background.pam.{n}.squeeze.weight"] for n in range(4)]
    assert not any(torch.equal(levels[0], level) for level in levels[1:])
    assert not torch.equal(state["backbone.body.conv1.weight"], state["background_backbone.body.conv1.weight"])


@pytest.mark.parametrize("name", ["a", "b"])
def test_torchs_own_generator_stays_as_it_is(name: str) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    seeded(name, lambda: torch.nn.Linear(3, 3))
    assert torch.equal(torch.rand(4), expected)
