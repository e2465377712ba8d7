"""From a webhook to events that are stored: only then is the vendor told that we have it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from ringline.clock import Clock
from ringline.customers.limiter import Limiter
from ringline.errors import NotFound, PermissionDenied, ResourceExhausted, Unavailable
from ringline.hooks import metrics, store
from ringline.hooks.codec import Encoded, encode
from ringline.storage import Database
from ringline.storage.database import DatabaseUnavailable
from ringline.vendors.base import Vendor
from ringline.vendors.errors import HookRefused
from ringline.vendors.events import Event, Hook
from ringline.vendors.registry import Vendors

log = structlog.get_logger(__name__)

BATCH: Final = 200
MAX_WAITING: Final = 5000
"""Webhooks that wait to be stored; with one more the vendor is asked to come again."""
REFUSALS_PER_SECOND, REFUSALS_BURST = 1.0, 20
"""Wrong signatures of one address that are answered with 403 and a line in the log; those beyond get 429."""


class VendorAbsent(NotFound):
    """404: this vendor is not set up here."""

    default_reason = "VENDOR_NOT_CONFIGURED"


class HookForbidden(PermissionDenied):
    """403: the signature is wrong, missing or too old."""

    default_reason = "INVALID_SIGNATURE"


class Intake:
    """Verifies webhooks and stores what they say; ``stored`` is called when there is something new.

    Webhooks that come while a statement is under way are stored together by the next one.
    """

    def __init__(
        self, database: Database, clock: Clock, vendors: Vendors, stored: Callable[[], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._vendors = vendors
        self._stored = stored
        self._refusals = Limiter(REFUSALS_PER_SECOND, REFUSALS_BURST)
        self._waiting: list[_Batch] = []
        self._task: asyncio.Task[None] | None = None

    async def take(self, hook: Hook, remote: str) -> int:
        """Store what a webhook says. Returns how much of it is new.

        ``remote`` is the address it came from. Raises ``VendorAbsent``, ``HookForbidden``, ``ResourceExhausted``
        (too many wrong signatures from there) and ``Unavailable``: then the vendor sends it again.
        """
        events = self._read(hook, remote)
        if not events:
            _count(hook.vendor, "unknown")
            return 0
        new = await self._store(hook.vendor, _encoded(events))
        _count(hook.vendor, "taken" if new else "duplicate")
        if new:
            self._stored()
        return new

    def answer(self, name: str) -> tuple[str, str]:
        """Media type and body of what a vendor expects for a webhook that was taken."""
        vendor = self._vendors.get(name)
        return Vendor.hook_answer if vendor is None else vendor.hook_answer

    async def close(self) -> None:
        """Store nothing more. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _read(self, hook: Hook, remote: str) -> list[Event]:
        vendor = self._vendors.get(hook.vendor)
        if vendor is None:
            _count(hook.vendor, "absent")
            raise VendorAbsent(f"{hook.vendor} is not set up here (RINGLINE_NUMBER_VENDORS).")
        try:
            return vendor.read_hook(hook)
        except HookRefused as refused:
            _count(hook.vendor, "refused")
            # only who is refused is slowed down: behind a proxy all have one address
            if (wait := self._refusals.take(remote)) > 0:
                raise ResourceExhausted(
                    "Too many webhooks with wrong signatures come from your address.",
                    details=[{"retry_after": max(1, round(wait))}],
                ) from None
            log.warning("vendor_hook_refused", vendor=hook.vendor, remote=remote, why=refused.message)
            raise HookForbidden("The signature of this webhook is wrong, missing or too old.") from None
        except Exception:
            _count(hook.vendor, "unreadable")
            raise

    async def _store(self, vendor: str, events: list[Encoded]) -> int:
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("Too many webhooks wait to be stored; send this one again.")
        one = _Batch([(vendor, event) for event in events])
        self._waiting.append(one)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write(), name="hooks-intake")
        return await one.new

    async def _write(self) -> None:
        while self._waiting:
            batches = self._waiting[:BATCH]
            del self._waiting[:BATCH]
            try:
                await self._insert(batches)
            except BaseException:
                for one in batches + self._waiting:
                    one.fail(Unavailable("The controller stops; send this webhook again."))
                self._waiting.clear()
                raise

    async def _insert(self, batches: list[_Batch]) -> None:
        try:
            async with self._database.connect() as connection:
                rows = [row for one in batches for row in one.rows]
                new = Counter(
                    vendor_event for vendor_event in await store.insert(connection, rows, self._clock.now())
                )
        except DatabaseUnavailable as outage:
            for one in batches:
                one.fail(outage)
        except Exception as error:  # noqa: BLE001 - who sent it is told
            if len(batches) == 1:
                batches[0].fail(error)
                return
            # one of them cannot be stored: the others can
            log.warning("vendor_hooks_refused_together", error=repr(error), hooks=len(batches))
            for one in batches:
                await self._insert([one])
        else:
            for one in batches:
                one.succeed(new)


class _Batch:
    """The events of one webhook, and who waits until they are stored."""

    __slots__ = ("new", "rows")

    def __init__(self, rows: list[tuple[str, Encoded]]) -> None:
        self.rows = rows
        self.new: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def succeed(self, new: Counter[tuple[str, str]]) -> None:
        """Take what is new of this one out of ``new``: of two alike the first has brought it."""
        count = 0
        for vendor, event in self.rows:
            key = (vendor, event.event_id)
            if new[key]:
                new[key] -= 1
                count += 1
        if not self.new.done():
            self.new.set_result(count)

    def fail(self, error: Exception) -> None:
        if not self.new.done():
            self.new.set_exception(error)


def _encoded(events: list[Event]) -> list[Encoded]:
    """Events that share an id because their webhook has one only are told apart by their place."""
    seen: Counter[str] = Counter()
    found = []
    for event in map(encode, events):
        place = seen[event.event_id]
        seen[event.event_id] += 1
        found.append(
            Encoded(f"{event.event_id}#{place}", event.kind, event.lane, event.payload) if place else event
        )
    return found


def _count(vendor: str, outcome: str) -> None:
    metrics.hooks.labels(vendor, outcome).inc()
