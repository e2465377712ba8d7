"""Logins in the trail: written behind the answer, so that a login neither waits for them nor fails with them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import structlog
from sqlalchemy import Row

from ringline.audit.models import ZERO, Actor, Happening
from ringline.audit.trail import Trail

log = structlog.get_logger(__name__)

LARGEST: Final = 1000
"""Attempts that wait to be written. More, and some are only in the log: guessing must not fill the memory."""
_RETRY_SECONDS: Final = 2.0
_CLOSE_SECONDS: Final = 3.0
_LOGIN: Final = "POST /auth/login"


class Logins:
    """Writes down who logged in, and who tried to.

    A name that nobody has is not written down: it may be a password that was typed into the wrong field.
    """

    def __init__(self, trail: Trail, *, retry: float = _RETRY_SECONDS) -> None:
        self._trail = trail
        self._retry = retry
        self._waiting: asyncio.Queue[tuple[Actor, Happening]] = asyncio.Queue(LARGEST)
        self._lost = 0
        self._task: asyncio.Task[None] | None = None

    def __call__(self, agent: Row[Any] | None, remote: str, *, right: bool) -> None:
        """An attempt at logging in: with the name of ``agent``, if anybody's."""
        if agent is None:
            actor = Actor("none", remote=remote, operation=_LOGIN)
            happening = Happening(ZERO, "login_failed", "login", ZERO)
        else:
            actor = (
                Actor(
                    "agent",
                    agent.customer_id,
                    agent.id,
                    username=agent.username,
                    remote=remote,
                    operation=_LOGIN,
                )
                if right
                else Actor("none", username=agent.username, remote=remote, operation=_LOGIN)
            )
            happening = Happening(agent.customer_id, "login" if right else "login_failed", "login", agent.id)
        try:
            self._waiting.put_nowait((actor, happening))
        except asyncio.QueueFull:
            self._lost += 1
            if self._lost % 100 == 1:
                log.warning("logins_not_audited", lost=self._lost)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="audit-logins")

    async def close(self) -> None:
        """Write what is left, for a moment, and stop."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._waiting.join()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            actor, happening = await self._waiting.get()
            while True:
                try:
                    await self._trail.record(actor, happening)
                    break
                except Exception as error:  # noqa: BLE001 - it waits; more than fit are dropped
                    log.warning("login_not_audited", error=str(error))
                    await asyncio.sleep(self._retry)
            self._waiting.task_done()
