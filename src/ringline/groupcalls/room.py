"""The parts of groupcalls put together."""

from __future__ import annotations

from ringline.calls.connection import Connections
from ringline.calls.journal import Journal
from ringline.calls.ordering import Ordering
from ringline.calls.service import CallService
from ringline.calls.switchboard import Switchboard
from ringline.clock import Clock
from ringline.groupcalls import models, store
from ringline.groupcalls.groupcall import Groupcall
from ringline.groupcalls.placing import Groups
from ringline.groupcalls.restoring import Restoring
from ringline.groupcalls.rings import Attaches, Rings
from ringline.groupcalls.service import GroupcallService
from ringline.storage import Database
from ringline.storage.behind import WriteBehind


class Groupcalls:
    """Groupcalls that last, their table, and the API's side of them.

    ``restoring`` is a part of taking over from a controller that died (``calls.recovery.Recovery.parts``).
    """

    def __init__(
        self,
        database: Database,
        switchboard: Switchboard,
        ordering: Ordering,
        journal: Journal,
        flows: Attaches,
        calls: CallService,
        connections: Connections,
        clock: Clock,
    ) -> None:
        self._behind: WriteBehind[Groupcall] = WriteBehind(
            database, store.UPSERT, Groupcall.row, name="groupcalls", telling=models.telling()
        )
        self.rings = Rings(switchboard, ordering, journal, flows, self._behind, clock, journal.live)
        self.restoring = Restoring(database, self.rings, switchboard, ordering, flows)
        self.service = GroupcallService(database, self.rings, ordering, journal, self._behind, calls.ready)
        calls.groups = Groups(self.rings)
        connections.groups = self.rings

    async def start(self) -> None:
        await self._behind.start()

    async def close(self) -> None:
        """Write what is left, then stop."""
        await self._behind.close()
