"""The controller's side of carried requests: read from a stream, carried out, answered on the asker's stream.

A request is carried out at most once: it is read once, never after its deadline, and never by a later holder of the
same Asterisk, for that one has a stream of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from redis.exceptions import RedisError

from ringline.cluster import metrics
from ringline.cluster.inbox import Inbox
from ringline.cluster.mailbox import Mailbox
from ringline.cluster.tasks import ended
from ringline.errors import ResourceExhausted
from ringline.http import problems
from ringline.http.carried import Carried, Outcome, outcome_of
from ringline.storage import Live

log = structlog.get_logger(__name__)

AT_ONCE: Final = 512
NOT_MINE: Final = 0
"""The status of an answer to a request for the owner of something from who is not."""

Perform = Callable[[Carried], Awaitable[Outcome]]


class Desk:
    """Carries out what comes in on ``stream``. ``owns``: whether something with this id is in this process."""

    def __init__(
        self,
        live: Live,
        stream: str,
        operations: Mapping[tuple[str, str], Perform],
        owns: Callable[[UUID], bool],
    ) -> None:
        """``operations`` are by method and the path of their route."""
        self._operations = operations
        self._owns = owns
        self._working: dict[str, asyncio.Task[None]] = {}
        self._inbox = Inbox(live, stream, self._take)
        self._mailbox = Mailbox(live)

    async def start(self) -> None:
        await self._inbox.start()

    async def close(self) -> None:
        """Take nothing more; what is under way gets a moment to end."""
        await self._inbox.close()
        if self._working:
            await asyncio.wait(self._working.values(), timeout=3.0)
        await ended(*self._working.values())
        await self._mailbox.close()

    def _take(self, fields: Mapping[bytes, bytes]) -> None:
        if b"cancel" in fields:
            task = self._working.get(fields[b"cancel"].decode())
            if task is not None:
                task.cancel()
            return
        asked = fields[b"id"].decode()
        task = asyncio.create_task(self._answer(asked, fields), name=f"carried {asked}")
        self._working[asked] = task
        task.add_done_callback(partial(self._over, asked))

    async def _answer(self, asked: str, fields: Mapping[bytes, bytes]) -> None:
        left = float(fields[b"until"]) - time.time()
        if left <= 0:
            metrics.carried.labels("late").inc()
            return
        outcome = await self._outcome(fields, left)
        if outcome is None:
            metrics.carried.labels("late").inc()
            return
        metrics.carried.labels("not_mine" if outcome.status == NOT_MINE else "done").inc()
        answers = fields[b"answers"].decode()
        entry: dict[Any, Any] = {
            "id": asked,
            "status": outcome.status,
            "headers": orjson.dumps(dict(outcome.headers)),
            "body": outcome.body,
        }
        try:
            await self._mailbox.post(answers, entry)
        except (RedisError, OSError) as error:
            log.warning("answer_not_sent", id=asked, error=str(error) or type(error).__name__)

    def _over(self, asked: str, task: asyncio.Task[None]) -> None:
        self._working.pop(asked, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("carried_request_unreadable", id=asked, error=repr(error))

    async def _outcome(self, fields: Mapping[bytes, bytes], left: float) -> Outcome | None:
        owned = fields.get(b"owned")
        if owned and not self._owns(UUID(owned.decode())):
            return Outcome(NOT_MINE, {}, b"")
        carried = Carried.load(fields[b"head"], fields[b"body"])
        perform = self._operations.get((carried.method, carried.route))
        if perform is None:
            # an asker of another version: this one does not know what is meant
            return Outcome(501, {"Content-Type": "application/json"}, b"{}")
        if len(self._working) > AT_ONCE:
            busy = ResourceExhausted("The controller is busy; ask again.", details=[{"retry_after": 1}])
            return outcome_of(busy, problems.envelope(busy, carried.request_id, "api"))
        try:
            async with asyncio.timeout(left):
                return await perform(carried)
        except TimeoutError:
            return None
