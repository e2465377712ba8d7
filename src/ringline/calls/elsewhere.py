"""Calls that other controllers have of the same customers: what of a limit is used there.

Fed several times a second with what each of them tells (``cluster.census``), so that whoever judges looks only into
memory. What comes within that time on several controllers at once none of them knows of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

if TYPE_CHECKING:
    from ringline.calls.limits import Limits
    from ringline.calls.pacing import Pacing

KEEP_SECONDS: Final = 10.0
"""So long the calls of a controller that says nothing count: Asterisk has them, and a successor, who tells under the
same name, takes them over within five."""


class Report(Protocol):
    """What one controller told (``cluster.census.Report``): by customer or account, calls that last, calls that wait,
    and calls that were placed in this life of it.
    """

    @property
    def life(self) -> str: ...

    @property
    def counts(self) -> Mapping[str, Sequence[int]]: ...


class Elsewhere:
    """What ``limits`` and ``pacing`` of this controller are to know of others, and the other way round."""

    def __init__(self, limits: Limits, pacing: Pacing) -> None:
        self._limits = limits
        self._pacing = pacing
        self._told: Mapping[str, Report] = {}
        self._sums: dict[str, tuple[int, int]] = {}
        limits.share(self)

    def present(self, key: UUID) -> int:
        """Calls of a customer, an extension or a trunk that last on other controllers."""
        return self._sums.get(str(key), _NONE)[0] if self._sums else 0

    def waiting(self, customer_id: UUID) -> int:
        """Calls of a customer that wait there for their turn."""
        return self._sums.get(str(customer_id), _NONE)[1] if self._sums else 0

    def mine(self) -> dict[str, list[int]]:
        """What this controller has."""
        lasting, placed = self._limits.lasting(), self._limits.placed()
        waiting = self._pacing.lengths()
        return {
            str(key): [lasting.get(key, 0), waiting.get(key, 0), placed.get(key, 0)]
            for key in lasting.keys() | waiting.keys() | placed.keys()
        }

    def heard(self, told: Mapping[str, Report]) -> None:
        """What all others have. What they placed since they told last is taken from the customers' pace here."""
        sums: dict[str, tuple[int, int]] = {}
        for name, one in told.items():
            before = self._told.get(name)
            # who was not heard of before placed what it says at any time
            known = before.counts if before is not None and before.life == one.life else None
            for key, (lasting, waiting, placed) in one.counts.items():
                calls, queued = sums.get(key, _NONE)
                sums[key] = calls + lasting, queued + waiting
                if known is not None and (since := placed - known.get(key, (0, 0, 0))[2]):
                    self._limits.placed_elsewhere(UUID(key), since)
        self._told, self._sums = told, sums


_NONE: Final = (0, 0)
