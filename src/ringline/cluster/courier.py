"""The API's side of carried requests: handed to a controller over its stream, answered on a stream of our own.

One controller: it is asked. Several: each is asked whether it has what the request is about, and does it if so; what
nobody has in memory is in PostgreSQL, for any of them to see.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid4

import orjson
import structlog
from redis.exceptions import RedisError

from ringline.cluster import metrics
from ringline.cluster.desk import NOT_MINE
from ringline.cluster.inbox import Inbox
from ringline.cluster.mailbox import Mailbox
from ringline.cluster.roll import Roll, Unit
from ringline.cluster.tasks import ended
from ringline.errors import Unavailable
from ringline.http.carried import Carried, Outcome
from ringline.http.route import Route
from ringline.storage import Live

log = structlog.get_logger(__name__)

AT_ONCE: Final = 2000
LOOK_SECONDS: Final = 0.5
TOLD_SECONDS: Final = 1.0
"""After so long a unit has told of the calls that it was given."""
SAFE: Final = frozenset({"GET", "PUT", "DELETE"})
"""What may be done twice (RFC 9110, 9.2.2)."""


class Lost(Exception):
    """The controller that was asked is not there any more; whether it has done something nobody knows."""


class Courier:
    """Has requests carried out by controllers (``http.carried.Carrier``: ``carry``)."""

    def __init__(self, live: Live, roll: Roll, process: str) -> None:
        self._roll = roll
        self._answers = f"ringline:answers:{process}"
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._inbox = Inbox(live, self._answers, self._hear)
        self._mailbox = Mailbox(live)
        # when calls were given to a unit: it tells how many it has only now and then
        self._given: dict[str, deque[float]] = defaultdict(deque)

    async def start(self) -> None:
        await self._inbox.start()

    async def close(self) -> None:
        await self._inbox.close()
        await self._mailbox.close()

    async def carry(self, route: Route, carried: Carried) -> Outcome:
        """Have it done where the route says. Raises ``Unavailable``."""
        if len(self._waiting) >= AT_ONCE:
            raise Unavailable("Too many requests wait for controllers.")
        until = time.time() + route.timeout
        began = time.perf_counter()
        repeatable = carried.method in SAFE or carried.seed is not None
        while True:
            try:
                outcome = await self._carry(route, carried, until)
            except Lost:
                if not repeatable or time.time() > until:
                    metrics.unanswered.labels("given_up").inc()
                    raise Unavailable(
                        "The controller was lost while it carried this out; whether it was done is not known.",
                        reason="CONTROLLER_LOST",
                    ) from None
                metrics.unanswered.labels("repeated").inc()
                continue
            except (RedisError, OSError) as error:
                raise Unavailable("Redis does not answer, and controllers are reached by it.") from error
            metrics.asked_seconds.observe(time.perf_counter() - began)
            return outcome

    async def _carry(self, route: Route, carried: Carried, until: float) -> Outcome:
        if route.runs == "controller":
            return await self._ask(await self._any(until), carried, until)
        owned = _owned(route, carried)
        while len(units := await self._there(until)) > 1 or self._roll.expected():
            outcome = await self._scatter(units, carried, owned, until)
            if outcome is not None:
                return outcome
            if not self._roll.expected():
                break
            # who has it may be the one that is being taken over
            await self._roll.changed(min(LOOK_SECONDS, max(until - time.time(), 0.0)))
            if time.time() >= until:
                raise Unavailable("The controller that had it is not there, and nobody has taken over yet.")
        return await self._ask(await self._any(until, new=False), carried, until)

    async def _there(self, until: float) -> list[Unit]:
        """Everybody who takes requests; one is waited for."""
        while not (units := self._roll.units()):
            left = until - time.time()
            if left <= 0 or not self._roll.expected():
                raise Unavailable("No controller is there now; try again shortly.", reason="NO_CONTROLLER")
            await self._roll.changed(min(LOOK_SECONDS, left))
        return units

    async def _any(self, until: float, *, new: bool = True) -> Unit:
        """The one with the fewest calls; for what begins (``new``) one that takes calls, if there is one."""
        units = await self._there(until)
        taking = [unit for unit in units if unit.takes] if new else []
        chosen = min(taking or units, key=self._load)
        if new:
            self._given[chosen.name].append(time.monotonic())
        return chosen

    def _load(self, unit: Unit) -> int:
        given = self._given[unit.name]
        while given and given[0] < time.monotonic() - TOLD_SECONDS:
            given.popleft()
        return unit.calls + len(given)

    async def _scatter(
        self, units: list[Unit], carried: Carried, owned: UUID, until: float
    ) -> Outcome | None:
        tasks = {asyncio.create_task(self._ask(unit, carried, until, owned)) for unit in units}
        lost = False
        try:
            waiting = tasks
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    try:
                        outcome = task.result()
                    except Lost:
                        lost = True
                        continue
                    if outcome.status != NOT_MINE:
                        return outcome
        finally:
            await ended(*tasks)
        if lost:
            raise Lost
        return None

    async def _ask(self, unit: Unit, carried: Carried, until: float, owned: UUID | None = None) -> Outcome:
        """One controller's answer. Raises ``Lost``, ``Unavailable`` and redis-py's errors."""
        asked = uuid4().hex
        head, body = carried.dump()
        entry: dict[Any, Any] = {
            "id": asked,
            "answers": self._answers,
            "until": f"{until:.3f}",
            "head": head,
            "body": body,
        }
        if owned is not None:
            entry["owned"] = str(owned)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[asked] = future
        try:
            await self._send(unit, entry)
            while not future.done():
                left = until - time.time()
                if left <= 0:
                    raise Unavailable(
                        "The controller gave no answer in time; whether it was done is not known.",
                        reason="REQUEST_TIMEOUT",
                    )
                await asyncio.wait({future}, timeout=min(left, LOOK_SECONDS))
                there = self._roll.unit(unit.name)
                if not future.done() and self._roll.heard and (there is None or there.epoch != unit.epoch):
                    raise Lost
            return future.result()
        except asyncio.CancelledError:
            # whoever waited for it has gone, or another one has it
            cancelling = asyncio.ensure_future(self._send(unit, {"cancel": asked}))
            cancelling.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise
        finally:
            del self._waiting[asked]

    async def _send(self, unit: Unit, entry: dict[Any, Any]) -> None:
        await self._mailbox.post(unit.asked_at, entry)

    def _hear(self, fields: Mapping[bytes, bytes]) -> None:
        future = self._waiting.get(fields[b"id"].decode())
        if future is not None and not future.done():
            headers = orjson.loads(fields[b"headers"])
            future.set_result(Outcome(int(fields[b"status"]), headers, fields[b"body"]))


def _owned(route: Route, carried: Carried) -> UUID:
    """What the request is about; its validity has been seen to."""
    if route.owned:
        return UUID(str(orjson.loads(carried.body)[route.owned]))
    return UUID(carried.path[next(name for name in route.parameters if name not in route.words)])
