"""The books: what was promised to calls is held in the database, and what they used is charged, behind the calls.

One task writes both, many calls in one transaction. While PostgreSQL is away everything waits: holds in memory, what
is to be charged in the calls' records, which the journal writes with their last state. So a process that dies takes
nothing with it: whoever comes next settles the records that wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import holds, ledger
from ringline.billing.errors import BillingAccountNotFound
from ringline.billing.holds import Held
from ringline.billing.ledger import Charge
from ringline.billing.rates import Rate
from ringline.cdrs.record import rate_of
from ringline.cdrs.record import row as cdr_row
from ringline.charging import metrics, store
from ringline.charging.meter import PORTION_SECONDS, Meter
from ringline.clock import Clock
from ringline.http import utc_now
from ringline.storage import Database, DatabaseUnavailable

log = structlog.get_logger(__name__)

INTERVAL_SECONDS: Final = 0.2
"""How long holds gather."""
SETTLE_SECONDS: Final = 0.6
"""How long endings gather: each transaction costs more than the calls in it."""
MAX_BACKOFF_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 3.0
"""How long a hold that was refused is asked for again, while something comes back to its account."""
REFERENCE: Final = "call"


class Told(Protocol):
    """Who hears what became of it (``charging.meters.Meters``)."""

    def held(self, call_id: UUID, units: int) -> None: ...

    def settled(self, call_id: UUID) -> None: ...

    def returning(self, account_id: UUID) -> bool: ...

    def fare(self, call: Any) -> Any: ...


@dataclass(slots=True)
class _Wanted:
    account_id: UUID
    rate: Rate
    units: int
    least: int
    since: float


class Books:
    """Writes holds and settlements (``charging.meters.Books``)."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.told: Told
        self.of_row: Callable[[Any], Any]
        """A call from its row (``calls.call.Call.from_row``)."""
        self._wanted: dict[UUID, _Wanted] = {}
        self._skipped: set[UUID] = set()
        self._unsettled = False
        self._settled_at = float("-inf")
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    # what is to be written

    def hold(self, meter: Meter, units: int) -> None:
        """So many units are to be held for the call altogether."""
        known = self._wanted.get(meter.call.id)
        if known is not None:
            known.units = units
        else:
            self._wanted[meter.call.id] = _Wanted(
                meter.account_id, meter.rate, units, meter.least, self._clock.monotonic()
            )
        self._stir()

    def forget(self, call_id: UUID) -> None:
        """Nothing more is to be held for the call."""
        self._wanted.pop(call_id, None)

    def written(self) -> None:
        """Records that wait to be settled have been stored."""
        self._unsettled = True
        self._stir()

    # life

    async def start(self) -> None:
        self._unsettled = True
        self._stir()
        self._task = asyncio.create_task(self._run(), name="books")

    async def close(self, grace: float = 5.0) -> None:
        """Write what is left, then stop."""
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            log.error("books_not_written", holds=len(self._wanted))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _stir(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _run(self) -> None:
        backoff = INTERVAL_SECONDS
        while True:
            await self._wake.wait()
            await asyncio.sleep(backoff)
            self._wake.clear()
            try:
                # what comes back first, so that it can be promised again
                due = self._clock.monotonic() - self._settled_at >= SETTLE_SECONDS
                if due:
                    await self._settle()
                again = await self._hold()
                backoff = INTERVAL_SECONDS
                if again or self._unsettled:
                    self._wake.set()
                elif not self._wake.is_set():
                    self._idle.set()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                if backoff == INTERVAL_SECONDS:
                    log.error("books_failed", error=repr(error), holds=len(self._wanted))
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
                self._wake.set()

    # holds

    async def _hold(self) -> bool:
        """Hold what is wanted; whether some of it has to be asked for again."""
        batch = dict(list(self._wanted.items())[: store.BATCH])
        if not batch:
            return False
        asked = {call_id: wanted.units for call_id, wanted in batch.items()}
        answers = await self._take(batch)
        now = self._clock.monotonic()
        again = len(self._wanted) > len(batch)
        for call_id, wanted in batch.items():
            held = answers.get(call_id)
            granted = 0 if held is None else held.units
            short = granted < asked[call_id]
            if short and self.told.returning(wanted.account_id) and now - wanted.since < PATIENCE_SECONDS:
                again = True
                continue
            if self._wanted.get(call_id) is wanted:
                if wanted.units == asked[call_id]:
                    del self._wanted[call_id]
                else:
                    # more was wanted meanwhile
                    again = True
                    if not short:
                        continue
                    del self._wanted[call_id]
            if short:
                metrics.holds_refused.inc()
            self.told.held(call_id, granted)
        return again

    async def _take(self, batch: dict[UUID, _Wanted]) -> dict[UUID, Held | None]:
        wanted = {
            call_id: holds.Wanted(call_id, one.account_id, one.rate, one.units, one.least)
            for call_id, one in batch.items()
        }
        try:
            async with self._database.begin() as connection:
                return await holds.take(connection, list(wanted.values()))
        except (DatabaseUnavailable, OSError):
            raise
        except Exception as error:
            if not isinstance(error, BillingAccountNotFound):
                log.exception("holds_refused", error=repr(error), calls=len(wanted))
            return await self._take_each(wanted)

    async def _take_each(self, wanted: dict[UUID, holds.Wanted]) -> dict[UUID, Held | None]:
        """One by one: what cannot be held for one call is not the others' fault."""
        answers: dict[UUID, Held | None] = {}
        for call_id, one in wanted.items():
            try:
                async with self._database.begin() as connection:
                    answers |= await holds.take(connection, [one])
            except (DatabaseUnavailable, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - an account that is gone pays for nothing
                log.error("hold_failed", call_id=str(call_id), error=repr(error))
                answers[call_id] = None
        return answers

    # settling

    async def settle_all(self) -> None:
        """Settle whatever waits, of whichever process; for a chore."""
        self._skipped.clear()
        self.written()

    async def _settle(self) -> None:
        if not self._unsettled:
            return
        self._unsettled = False
        self._settled_at = self._clock.monotonic()
        try:
            while await self._settle_batch() == store.BATCH:
                pass
        except BaseException:
            self._unsettled = True
            raise

    async def _settle_batch(self) -> int:
        try:
            async with self._database.begin() as connection:
                rows = await store.waiting(connection, self._skipped)
                done = await settle(connection, rows)
        except (DatabaseUnavailable, OSError):
            raise
        except Exception as error:
            if not isinstance(error, BillingAccountNotFound):
                log.exception("batch_not_settled", error=repr(error))
            rows, done = await self._settle_each()
        for call_id in done:
            self.told.settled(call_id)
        metrics.settled.inc(len(done))
        return len(rows)

    async def _settle_each(self) -> tuple[list[Any], list[UUID]]:
        async with self._database.connect() as connection:
            rows = await store.waiting(connection, self._skipped)
        done: list[UUID] = []
        for row in rows:
            try:
                async with self._database.begin() as connection:
                    done += await settle(
                        connection, await store.waiting_one(connection, row.id), careful=True
                    )
            except (DatabaseUnavailable, OSError):
                raise
            except Exception as error:
                log.exception("call_not_settled", call_id=str(row.id), error=repr(error))
                metrics.not_settled.inc()
                self._skipped.add(row.id)
        return rows, done

    # what was forgotten

    def record_of(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The record of a call by its row; nothing, loudly, where the row is not to be understood."""
        values = dict(row)
        try:
            return cdr_row(values, self.told.fare(self.of_row(values)))
        except Exception as error:
            log.exception("call_not_recorded", call_id=str(values.get("id")), error=repr(error))
            metrics.not_settled.inc()
            return None

    async def look_after_holds(self) -> None:
        """Holds that expired: of calls that last they go on, of those that ended they are settled or released."""
        async with self._database.connect() as connection:
            found = await store.stale(connection)
            lasting = [
                reference for reference, call, _ in found if call is not None and call.status != "hangup"
            ]
            if lasting:
                await store.keep(connection, lasting)
            unrecorded = [
                (reference, self.record_of(dict(call._mapping)))
                for reference, call, recorded in found
                if call is not None and call.status == "hangup" and recorded is store.Recorded.NOT
            ]
            forgotten = [record for _, record in unrecorded if record is not None]
            if forgotten:
                log.warning("calls_were_not_charged", calls=len(forgotten))
                await store.record(connection, forgotten)
        # what waits to be settled bounds what is charged until then
        over = [
            reference
            for reference, call, recorded in found
            if call is None or recorded is store.Recorded.SETTLED
        ]
        over += [reference for reference, record in unrecorded if record is None]
        if over:
            async with self._database.begin() as connection:
                held = await holds.of(connection, over)
                await holds.release(connection, list(held.values()))
            log.info("holds_released", calls=len(over))
        if forgotten:
            self.written()


async def settle(connection: AsyncConnection, rows: Sequence[Any], *, careful: bool = False) -> list[UUID]:
    """Charge what calls used, by their records' rows, and release what was held for them; their ids.

    In the transaction of ``connection``, which holds the rows: what is charged is noted with it, or neither is.
    ``careful``: accounts may be gone, and then nobody pays; else that is a ``BillingAccountNotFound``.
    """
    if not rows:
        return []
    # of the others it does not matter what was held for them: to be charged releases it
    look = [row.id for row in rows if row.bounded or not row.billable_units]
    held: dict[UUID, Held] = {}
    accounts = {UUID(str(row.billing_account_id)) for row in rows}
    if look or careful:
        accounts = await store.known_accounts(connection, accounts)
        # in one go and in the order of their ids, as everybody does
        await ledger.lock(connection, accounts)
        held = await holds.of(connection, look)
    charges = [
        charge
        for row in rows
        if row.billing_account_id in accounts and (charge := _charge(row, held.get(row.id))) is not None
    ]
    posted = (
        {}
        if not charges
        else {one.entry.reference_id: one for one in await holds.settle(connection, charges)}
    )
    unused = [one for one in held.values() if one.reference_id not in posted and one.account_id in accounts]
    if unused:
        await holds.release(connection, unused)
    now = utc_now()
    values: list[dict[str, Any]] = []
    for row in rows:
        entry = posted[row.id].entry if row.id in posted else None
        values.append(
            {
                "id": row.id,
                "billable_units": 0 if entry is None else entry.billable_units,
                "amount_token": 0 if entry is None else -entry.amount_token,
                "amount_credit": 0 if entry is None else -entry.amount_credit,
                "tm_settle": now,
            }
        )
    await store.settled(connection, values)
    return [UUID(str(row.id)) for row in rows]


def _charge(row: Any, held: Held | None) -> Charge | None:
    """What a call is charged; nothing where it was not answered."""
    rate = rate_of(row)
    units = row.billable_units
    if row.bounded:
        portion = rate.units(PORTION_SECONDS) if rate.unit_seconds else 1
        units = min(units, portion if held is None else held.units)
    if units <= 0:
        return None
    usage = row.billsec
    if not rate.unit_seconds:
        usage = units
    elif units < rate.units(usage):
        usage = rate.seconds(units)
    return Charge(
        account_id=row.billing_account_id,
        customer_id=row.customer_id,
        rate=rate,
        usage=usage,
        reference_type=REFERENCE,
        reference_id=row.id,
        idempotency_key=f"call:{row.id}:{row.cost_type}",
        tm=row.tm_hangup or row.tm_create,
        tm_start=row.tm_progressing,
        forced=True,
    )
