"""Charging put together, and into the calls: what the switchboard, the journal and recovery ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import TextClause

from ringline.calls.call import Call
from ringline.calls.inbound import Inbound
from ringline.calls.journal import Journal
from ringline.calls.ordering import Ordering
from ringline.calls.recovery import Found, Recovery
from ringline.calls.switchboard import Switchboard
from ringline.cdrs import tables
from ringline.charging import store
from ringline.charging.books import Books
from ringline.charging.meters import Customers, Meters, Rates
from ringline.charging.purses import Accounts, Purses
from ringline.clock import Clock
from ringline.errors import RinglineError
from ringline.housekeeping import Chore
from ringline.media import MediaFailed, Prompt
from ringline.storage import Database, DatabaseUnavailable

log = structlog.get_logger(__name__)

LOOK_SECONDS = 10.0
HOLDS_SECONDS = 60.0


class Sounds(Protocol):
    """Who makes a tone (``media.MediaLibrary``)."""

    async def beep(self) -> Prompt: ...


class Speakers(Protocol):
    """Who lets parties hear it (``calls.whisper.Whispers``)."""

    async def say(self, call: Call, prompt: Prompt, *, both: bool = ...) -> None: ...


class Charging:
    """Everything about what calls cost."""

    name = "charging"

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        customers: Customers,
        accounts: Accounts,
        rates: Rates,
        switchboard: Switchboard,
        sounds: Sounds,
        speakers: Speakers,
    ) -> None:
        self._database = database
        self._switchboard = switchboard
        self._sounds = sounds
        self._speakers = speakers
        self._telling: set[asyncio.Task[None]] = set()
        self.books = Books(database, clock)
        self.meters: Meters = Meters(
            customers,
            Purses(accounts),
            rates,
            self.books,
            clock,
            ending=switchboard,
            warn=self._warn,
        )
        self.books.told = self.meters
        self.books.of_row = Call.from_row

    def attach(self, journal: Journal, ordering: Ordering, inbound: Inbound, recovery: Recovery) -> None:
        """Have calls paid from now on."""
        self._switchboard.metering = self.meters
        self._switchboard.watchers.append(self.meters.call_ended)
        ordering.money = self.meters
        inbound.unpaid = self.meters.refuses
        recovery.parts.append(self)
        journal.record_with(Finals(self.meters, self.books))

    async def restore(self, found: Found) -> None:
        """Go on with the meters of a former controller's calls (``calls.recovery.Part``)."""
        calls = [call for call in self._switchboard.calls() if not call.ended]
        held: dict[UUID, int] = {}
        payers: dict[UUID, UUID] = {}
        if calls:
            try:
                async with self._database.connect() as connection:
                    held, payers = await store.held_for(connection, [call.id for call in calls])
            except DatabaseUnavailable:
                # what they have used is charged all the same, and more is promised to them as to new ones
                log.warning("holds_not_read", calls=len(calls))
        self.meters.restore(calls, held, payers)

    def chores(self) -> list[Chore]:
        """What is done now and then."""
        return [
            Chore("charging", LOOK_SECONDS, self.books.settle_all),
            Chore("charging-holds", HOLDS_SECONDS, self.books.look_after_holds),
        ]

    async def start(self) -> None:
        await self.books.start()

    async def close(self) -> None:
        """Write what is left, then stop."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        await self.books.close()

    def _warn(self, call: Call) -> None:
        task = asyncio.create_task(self._tone(call), name=f"charging-tone {call.id}")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tone(self, call: Call) -> None:
        """A short tone to both parties, over whatever they hear."""
        try:
            await self._speakers.say(call, await self._sounds.beep(), both=True)
        except (RinglineError, MediaFailed) as error:
            log.info("cut_off_unannounced", call_id=str(call.id), error=str(error))


class Finals:
    """Call detail records, stored together with the last state of calls (``calls.journal.Finals``)."""

    INSERT: TextClause = tables.INSERT

    def __init__(self, meters: Meters, books: Books) -> None:
        self._meters = meters
        self._books = books
        self.written = books.written

    def row(self, call: Call) -> dict[str, Any]:
        return self._meters.cdr(call)

    def lost(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        return self._books.record_of(row)
