"""Groupcalls among the things that ``POST /v1.0/calls`` and a flow's ``call`` place (``calls.service.Groups``)."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.calls.call import Call
from ringline.calls.caller import Anonymity
from ringline.calls.ordering import Party
from ringline.groupcalls.ring import Ring
from ringline.groupcalls.rings import Prepare, Rings


class Groups:
    """Makes the groupcall that one destination amounts to."""

    def __init__(self, rings: Rings) -> None:
        self._rings = rings

    def group(
        self,
        customer_id: UUID,
        party: Party,
        *,
        groupcall_id: UUID,
        anonymous: Anonymity,
        prepare: Prepare,
        master: Call | None,
    ) -> Placing:
        """The groupcall of an agent or an extension, ready to be stored and begun."""
        ring = self._rings.make(
            customer_id,
            party.orders,
            groupcall_id=groupcall_id,
            source=party.source,
            destinations=[order.destination for order in party.orders],
            ring_method=party.ring_method,
            anonymous=anonymous,
            prepare=prepare,
            master=master,
        )
        return Placing(self._rings, ring)


class Placing:
    """One groupcall that is about to be placed (``calls.service.Placing``)."""

    def __init__(self, rings: Rings, ring: Ring) -> None:
        self._rings = rings
        self._ring = ring
        self.calls = ring.prepared()

    async def store(self, connection: AsyncConnection) -> None:
        await self._rings.store(connection, self._ring)

    def begin(self, *, behind: bool = False) -> None:
        self._rings.begin(self._ring)

    def discard(self) -> None:
        self._rings.discard(self._ring)

    def lose(self) -> None:
        self._rings.lose(self._ring)
