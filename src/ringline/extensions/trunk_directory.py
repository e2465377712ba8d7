"""All trunks in memory: whose they are, for the calls that come from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ringline.extensions.store import trunks
from ringline.storage import Database, Mirror


@dataclass(frozen=True, slots=True)
class Trunk:
    """A telephone system's account. ``domain_name`` is the first label of its realm, ``max_calls`` 0 for no limit.

    ``srtp`` is ``none``, ``optional`` or ``required``.
    """

    id: UUID
    customer_id: UUID
    name: str
    domain_name: str
    max_calls: int = 0
    srtp: str = "optional"


class TrunkDirectory(Mirror[Trunk]):
    """All trunks that were not deleted."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, trunks, _trunk, key=lambda found: found.domain_name)


def _trunk(row: Any) -> Trunk:
    return Trunk(row.id, row.customer_id, row.name, row.domain_name, row.max_calls, row.srtp)
