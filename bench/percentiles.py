"""Percentiles of measured times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of ``count`` values, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    maximum: float


def of(values: Sequence[float]) -> Percentiles | None:
    """Nearest-rank percentiles; ``None`` of nothing."""
    if not values:
        return None
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]

    return Percentiles(len(ordered), rank(0.50), rank(0.95), rank(0.99), ordered[-1])
