"""Figures of quality as people read them, and what stands where there is none."""

from __future__ import annotations

from aunet.evaluation.comparison import Comparison, Difference

NO_SPAN = "too few images or matches for an interval"


def figure(value: float | None) -> str:
    """One decimal, or a dash."""
    return "–" if value is None else f"{value:.1f}"


def group_differences(comparison: Comparison) -> tuple[Difference, Difference | None, Difference | None]:
    """Of all, things and stuff; None where no such category occurs."""
    kinds = {category.is_thing for category, _ in comparison.per_class}
    return (
        comparison.PQ,
        comparison.PQ_th if True in kinds else None,
        comparison.PQ_st if False in kinds else None,
    )
