"""Which figures of an evaluation measure anything: where no thing occurs, or no stuff, theirs are 0 and say nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GROUPS = (("all", ""), ("things", "_th"), ("stuff", "_st"))
"""What people call them, and how their metrics end."""


def occurs(row: Mapping[str, Any]) -> bool:
    """Whether a category is true or predicted anywhere, by its row of `PanopticQualityResult.rows`."""
    return row["tp"] + row["fp"] + row["fn"] > 0


def measured(metrics: Mapping[str, float], per_class: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The metrics, by their names, without those that `unmeasured` names."""
    hidden = unmeasured(per_class)
    return {name: value for name, value in metrics.items() if name not in hidden}


def unmeasured(per_class: Sequence[Mapping[str, Any]]) -> set[str]:
    """Names of the metrics of groups of which no category occurs; AP and AP_box are things'.

    Args:
        per_class: the row of every category; where they are not known, nothing is named.
    """
    kinds = {bool(row["isthing"]) for row in per_class if occurs(row)}
    is_empty = {"": not kinds, "_th": True not in kinds, "_st": False not in kinds}
    names = {key + suffix for suffix, empty in is_empty.items() if empty for key in ("PQ", "SQ", "RQ")}
    names |= {"AP", "AP_box"} if is_empty["_th"] else set()
    return names if per_class else set()
