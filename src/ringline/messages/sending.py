"""Handing texts to vendors: each once, however often anybody dies in between.

A target is noted as ``handed`` before its vendor is asked. Where the answer does not come (or we do not live to see
it) nobody knows whether the vendor has it: it is looked up there, and asked for again only when the vendor never
heard of it. A vendor that cannot tell is not asked again: a report may still say what became of it, and after a while
the target is failed as unknown.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import structlog

from ringline.billing import usage
from ringline.clock import Clock
from ringline.messages import metrics, store
from ringline.messages.reports import settle
from ringline.messages.states import Reason, Status, may_follow
from ringline.numbers import Number
from ringline.storage import Database
from ringline.vendors.base import Vendor
from ringline.vendors.errors import (
    NotSupported,
    VendorBusy,
    VendorError,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
    VendorUncertain,
    VendorUnknown,
)
from ringline.vendors.models import Sent, Text
from ringline.vendors.registry import Vendors

log = structlog.get_logger(__name__)

AT_ONCE: Final = 16
BATCH: Final = 500
IDLE_SECONDS: Final = 5.0
MAX_BACKOFF_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 5.0
SOON_SECONDS: Final = 3.0
_MOST_REMEMBERED: Final = 10_000
_OPTED_OUT: Final = frozenset({"21610", "40300"})
"""Codes of Twilio and of Telnyx for a pair that they themselves have seen a STOP of."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long for what, in seconds."""

    answer: float = 90.0
    """A vendor's answer, its client's own pauses and repetitions included."""
    look: float = 60.0
    """From the end of that until the vendor is asked what became of a text: by then it knows, or never will."""
    unknown: float = 600.0
    """Until a text is failed of which the vendor cannot tell."""
    give_up: float = 4 * 3600.0
    """Until a text is failed whose vendor cannot be reached."""


class Numbers(Protocol):
    """``numbers.NumberDirectory``."""

    def owned(self, customer_id: UUID, number: str) -> Number | None: ...


class Sending:
    """One worker over the targets that have a step. Several would not get into each other's way."""

    def __init__(
        self,
        database: Database,
        vendors: Vendors,
        numbers: Numbers,
        clock: Clock,
        *,
        per_second: float = 1.0,
        optouts: bool = True,
        active: Callable[[UUID], bool] = lambda _: True,
        patience: Patience | None = None,
    ) -> None:
        """``per_second``: texts of one number, as carriers allow them; 0 for no limit.

        ``active``: whether a customer is, when its text is to leave.
        """
        self._database = database
        self._vendors = vendors
        self._numbers = numbers
        self._clock = clock
        self._interval = timedelta(seconds=1 / per_second) if per_second else timedelta()
        self._optouts = optouts
        self._active = active
        self._patience = patience or Patience()
        self._last: dict[str, datetime] = {}
        self._paused: dict[str, datetime] = {}
        # pairs of numbers of which a text is tried again at a moment: later ones wait as long, or they would overtake
        self._held: dict[tuple[str, str], datetime] = {}
        self._busy: dict[UUID, asyncio.Task[None]] = {}
        # pairs of numbers with a text under way: the next one waits, or it might overtake
        self._pairs: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._began = datetime.min.replace(tzinfo=UTC)

    def wake(self) -> None:
        """There is something new to send."""
        self._wake.set()

    async def start(self) -> None:
        await self.take_over()
        self._task = asyncio.create_task(self._run(), name="messages-sending")

    async def take_over(self) -> None:
        """Look soon at what a former process had handed over: it hears of no answer any more."""
        self._began = self._clock.now()
        async with self._database.connect() as connection:
            await store.hasten(connection, self._in(SOON_SECONDS))

    async def close(self) -> None:
        """Hand nothing more to anybody; what is with a vendor gets a moment to end."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._busy:
            await asyncio.wait(self._busy.values(), timeout=CLOSE_SECONDS)
        for task in list(self._busy.values()):
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def measure(self) -> None:
        """Read the length of the queue for the metrics."""
        async with self._database.connect() as connection:
            metrics.waiting.set(await store.waiting(connection))

    async def turn(self) -> float:
        """Begin what is due; seconds until there is something to do again, if nothing new comes."""
        now = self._clock.now()
        async with self._database.connect() as connection:
            rows = [row for row in await store.due(connection, now, BATCH) if row.id not in self._busy]
            later: dict[UUID, datetime] = {}
            behind: Counter[str] = Counter()
            for row in rows:
                moment = self._moment(row, now, behind)
                if moment > now:
                    later[row.id] = moment
                elif len(self._busy) < AT_ONCE and not self._closing and _pair(row) not in self._pairs:
                    self._begin(row, now)
            if later:
                await store.defer(connection, later)
            following = await store.next_due(connection)
        if following is None:
            return IDLE_SECONDS
        seconds = (following - self._clock.now()).total_seconds()
        if seconds <= 0 and self._busy:
            # it waits for one that is under way, and whoever ends says so
            return 1.0
        return min(max(seconds, 0.05), IDLE_SECONDS)

    async def idle(self) -> None:
        """Return when nothing is with a vendor."""
        while self._busy:
            await asyncio.wait(list(self._busy.values()))

    async def _run(self) -> None:
        pause = 0.0
        while True:
            try:
                seconds = await self.turn()
                pause = 0.0
            except Exception as error:  # noqa: BLE001 - whatever it is, what is stored stays to be done
                log.warning("messages_not_sent", error=repr(error))
                seconds = pause = min(max(2 * pause, 0.5), MAX_BACKOFF_SECONDS)
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    def _moment(self, row: Any, now: datetime, behind: Counter[str]) -> datetime:
        """When it is a target's turn: texts of a number leave one after another, in order."""
        if row.step != "queued":
            return now
        paused = max(self._paused.get(row.vendor, now), self._held.get(_pair(row), now))
        last = self._last.get(row.source_number)
        if not self._interval or last is None or last + self._interval <= now:
            turn = now if not behind[row.source_number] else now + behind[row.source_number] * self._interval
        else:
            turn = last + (1 + behind[row.source_number]) * self._interval
        if max(turn, paused) > now:
            behind[row.source_number] += 1
        return max(turn, paused)

    def _begin(self, row: Any, now: datetime) -> None:
        if row.step == "queued":
            if len(self._last) > _MOST_REMEMBERED:
                self._last = {
                    number: last for number, last in self._last.items() if last + self._interval > now
                }
            self._last[row.source_number] = now
        work = self._send(row) if row.step == "queued" else self._look(row)
        task = asyncio.create_task(self._guarded(work, row), name=f"text-{row.id}")
        self._busy[row.id] = task
        self._pairs.add(_pair(row))
        task.add_done_callback(lambda _: self._done(row))

    def _done(self, row: Any) -> None:
        self._busy.pop(row.id, None)
        self._pairs.discard(_pair(row))
        self._wake.set()

    async def _guarded(self, work: Any, row: Any) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - it stays where it is, and is taken up when it is due again
            log.warning("text_not_settled", target_id=str(row.id), error=repr(error))

    async def _send(self, row: Any) -> None:
        vendor = self._vendors.get(row.vendor)
        reason, detail = await self._obstacle(row, vendor)
        if reason or vendor is None:
            await self._fail(row, reason, detail)
            return
        patience, now = self._patience, self._clock.now()
        look_at = now + timedelta(seconds=patience.answer + patience.look)
        async with self._database.connect() as connection:
            if not await store.hand(connection, row.id, now, look_at):
                return
        try:
            async with asyncio.timeout(patience.answer):
                sent = await vendor.send(_text(row, row.tm_handed or now))
        except VendorBusy as error:
            pause = self._clock.now() + timedelta(seconds=max(error.retry_after, 0.1))
            self._paused[row.vendor] = pause
            await self._again(row, "queued", pause, error.message)
        except VendorUnavailable as error:
            await self._unreached(row, error)
        except (VendorUncertain, TimeoutError) as error:
            said = error.message if isinstance(error, VendorError) else f"{vendor.name} did not answer"
            await self._again(row, "handed", self._in(patience.look), said)
        except (VendorRefused, VendorUnknown, VendorMisconfigured, NotSupported) as error:
            await self._refused(row, error)
        except Exception as error:
            # a fault of ours: it may have left or not
            log.exception("vendor_crashed", vendor=vendor.name, target_id=str(row.id))
            await self._again(row, "handed", self._in(patience.look), type(error).__name__)
        else:
            await self._settle(row, sent)

    async def _look(self, row: Any) -> None:
        """Find out what became of a text that a vendor may have."""
        vendor = self._vendors.get(row.vendor)
        handed = row.tm_handed or row.tm_create
        try:
            if vendor is None:
                raise NotSupported(f"{row.vendor} is not set up here any more")
            async with asyncio.timeout(self._patience.answer):
                sent = await vendor.find_text(_text(row, handed), row.reference)
            if sent is not None and sent.reference and await self._is_another(row, sent.reference):
                raise NotSupported(f"{vendor.name} names another text")
        except NotSupported as error:
            if self._age(handed) >= self._patience.unknown:
                await self._unknown(row, error.message)
            else:
                await self._again(row, "handed", self._in(self._patience.look), error.message)
        except (VendorError, TimeoutError) as error:
            said = error.message if isinstance(error, VendorError) else f"{row.vendor} did not answer"
            if self._age(handed) >= self._patience.give_up:
                await self._unknown(row, said)
            else:
                await self._again(row, "handed", self._in(self._patience.look), said)
        else:
            # a request of a former process may have reached the vendor until that died
            quiet = max(handed, self._began)
            if sent is not None:
                await self._settle(row, sent)
            elif self._age(quiet) < self._patience.look:
                await self._again(row, "handed", quiet + timedelta(seconds=self._patience.look), "")
            else:
                # it never heard of it, and nothing can be under way any more
                await self._again(row, "queued", self._clock.now(), "")

    async def _obstacle(self, row: Any, vendor: Vendor | None) -> tuple[str, str]:
        """Why a target must not be sent now, though it could when it was stored."""
        if not self._active(row.customer_id):
            return Reason.CUSTOMER_NOT_ACTIVE, "the account has been frozen or deleted since"
        source = self._numbers.owned(row.customer_id, row.source_number)
        if source is None or source.status != "active":
            state = "not yours any more" if source is None else f"not active but {source.status}"
            return Reason.NUMBER_NOT_ACTIVE, f"{row.source_number} is {state}"
        if vendor is None:
            return Reason.NO_PROVIDER, f"{row.vendor} is not set up here any more"
        if self._optouts and not row.automatic:
            async with self._database.connect() as connection:
                pair = row.customer_id, row.source_number, [row.destination_number]
                if await store.stopped(connection, *pair):
                    return Reason.OPTED_OUT, f"{row.destination_number} has said STOP to {row.source_number}"
        return "", ""

    async def _unreached(self, row: Any, error: VendorError) -> None:
        if self._age(row.tm_create) >= self._patience.give_up:
            await self._fail(row, Reason.PROVIDER_UNAVAILABLE, error.message)
            return
        moment = self._in(min(2.0 ** min(row.tries, 6), MAX_BACKOFF_SECONDS))
        if len(self._held) > _MOST_REMEMBERED:
            now = self._clock.now()
            self._held = {pair: held for pair, held in self._held.items() if held > now}
        self._held[_pair(row)] = moment
        await self._again(row, "queued", moment, error.message)

    async def _refused(self, row: Any, error: VendorError) -> None:
        if error.code in _OPTED_OUT:
            if self._optouts:
                async with self._database.connect() as connection:
                    await store.stop(
                        connection,
                        {
                            "id": uuid4(),
                            "customer_id": row.customer_id,
                            "number": row.source_number,
                            "handset": row.destination_number,
                            "tm_create": self._clock.now(),
                        },
                    )
            await self._fail(row, Reason.OPTED_OUT, error.message)
            return
        code = f"{error.code}: " if error.code and error.code not in error.message else ""
        await self._fail(row, Reason.REFUSED, f"{code}{error.message}")

    async def _unknown(self, row: Any, detail: str) -> None:
        log.error("text_outcome_unknown", target_id=str(row.id), vendor=row.vendor, why=detail)
        await self._fail(row, Reason.UNKNOWN_OUTCOME, f"nobody knows whether it was sent: {detail}")

    async def _again(self, row: Any, step: str, moment: datetime, detail: str) -> None:
        async with self._database.connect() as connection:
            await store.requeue(connection, row.id, step, moment, detail[:500])

    async def _settle(self, row: Any, sent: Sent) -> None:
        async with self._database.begin() as connection:
            await settle(connection, row.id, row.vendor, sent)

    async def _fail(self, row: Any, reason: str, detail: str) -> None:
        now = self._clock.now()
        async with self._database.begin() as connection:
            known = await store.locked(connection, row.id)
            if known is None or not known.step:
                return
            if not may_follow(Status(known.status), known.reason, Status.FAILED):
                return
            changes = {
                "status": Status.FAILED.value,
                "reason": str(reason),
                "detail": detail[:500],
                "step": "",
                "tm_due": None,
            }
            await store.settle(connection, row.id, row.message_id, changes, now)
            if reason != Reason.UNKNOWN_OUTCOME:
                # it may have been sent
                await usage.give_back(connection, row.id, now, detail)
        metrics.texts.labels("outbound", str(reason)).inc()

    async def _is_another(self, row: Any, reference: str) -> bool:
        async with self._database.connect() as connection:
            owner = await store.of_reference(connection, row.vendor, reference)
        return owner is not None and owner != row.id

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)

    def _age(self, moment: datetime) -> float:
        return (self._clock.now() - moment).total_seconds()


def _pair(row: Any) -> tuple[str, str]:
    return row.source_number, row.destination_number


def _text(row: Any, tm_sent: datetime) -> Text:
    return Text(
        id=row.id,
        source=row.source_number,
        destination=row.destination_number,
        text=row.text,
        media=tuple(one["url"] for one in row.media),
        tm_sent=tm_sent,
    )
