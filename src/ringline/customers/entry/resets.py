"""New passwords for those who have forgotten theirs: proven by the mailbox.

A request is answered before anybody looks whether there is such a login, so neither the answer nor its time tells.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy import Row

from ringline.audit import Actor, Trail
from ringline.customers import mailed
from ringline.customers.directory import AgentDirectory
from ringline.customers.entry.letters import Letters
from ringline.customers.entry.signup import Post, too_many
from ringline.customers.limiter import Limiter
from ringline.customers.passwords import hash_password
from ringline.customers.tables import agents, customers
from ringline.http import Permission, utc_now
from ringline.http.route import ADMIN
from ringline.mail.letter import is_address
from ringline.storage import Database

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 1000
_OPEN: Final = ("initial", "active", "frozen")


class PasswordResets:
    """Forgotten passwords. One worker looks names up and writes the mails."""

    def __init__(
        self, database: Database, directory: AgentDirectory, trail: Trail, letters: Letters, post: Post
    ) -> None:
        self._database = database
        self._directory = directory
        self._trail = trail
        self._letters = letters
        self._post = post
        self._by_address = Limiter(rate=1, burst=20)
        self._by_agent = Limiter(rate=1 / 300, burst=3)
        self._waiting: asyncio.Queue[str] = asyncio.Queue(MOST_WAITING)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="password-resets")

    async def close(self) -> None:
        """Stop. Whoever waits for a mail asks again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def forgot(self, username: str, remote: str) -> None:
        """Take a request over and return at once. Raises ``ResourceExhausted``."""
        if wait := self._by_address.take(remote):
            raise too_many(wait)
        try:
            self._waiting.put_nowait(username.strip().lower())
        except asyncio.QueueFull:
            log.warning("password_reset_dropped", waiting=MOST_WAITING)

    async def reset(self, token: str, password: str, remote: str, request_id: str) -> None:
        """Set a password; logins with the former one end. Raises ``InvalidArgument``, ``ResourceExhausted``."""
        if wait := self._by_address.take(remote):
            raise too_many(wait)
        async with self._database.connect() as connection:
            # hashing costs 64 MiB and tens of milliseconds: not for everybody
            await mailed.known(connection, "reset", token)
        hashed, now = await hash_password(password), utc_now()
        actor = Actor("none", remote=remote, request_id=request_id, operation="POST /auth/password-reset")
        with self._trail.by(actor):
            async with self._database.begin() as connection:
                used = await mailed.take(connection, "reset", token)
                changed = await connection.execute(
                    sa.update(agents)
                    .where(agents.c.id == used.agent_id, agents.c.tm_delete.is_(None))
                    .values(
                        password_hash=hashed, password_version=agents.c.password_version + 1, tm_update=now
                    )
                )
                if not changed.rowcount:
                    raise mailed.invalid()
                await mailed.drop(connection, used.agent_id, "reset")
        await self._directory.refresh(used.agent_id)
        log.info("password_reset", customer_id=str(used.customer_id), agent_id=str(used.agent_id))

    async def idle(self) -> None:
        """Return when nobody waits any more."""
        await self._waiting.join()

    async def _run(self) -> None:
        while True:
            name = await self._waiting.get()
            try:
                await self._remind(name)
            except Exception as error:  # noqa: BLE001 - who waits for the mail asks again
                log.warning("password_reset_failed", error=str(error))
            finally:
                self._waiting.task_done()

    async def _remind(self, name: str) -> None:
        found = sa.select(agents).where(
            sa.func.lower(agents.c.username) == name, agents.c.tm_delete.is_(None)
        )
        async with self._database.begin() as connection:
            agent = (await connection.execute(found)).first()
            if agent is None:
                log.info("password_reset_unknown")
                return
            customer = (
                await connection.execute(sa.select(customers).where(customers.c.id == agent.customer_id))
            ).one()
            to = _mailbox(agent, customer)
            if not to or customer.tm_delete is not None or customer.status not in _OPEN:
                log.warning("password_reset_without_address", agent_id=str(agent.id))
                return
            if self._by_agent.take(agent.id):
                log.warning("password_reset_withheld", agent_id=str(agent.id))
                return
            token = await mailed.issue(connection, "reset", customer.id, agent.id, mailed.RESET_LIFE)
        self._post(self._letters.reset(to, agent.username, token))


def _mailbox(agent: Row[Any], customer: Row[Any]) -> str:
    """Where mail for an agent goes: its name, where that is an address; an admin's also to its customer's address.

    Any admin or access key changes the customer's address. Whoever has rights beyond a customer's gets mail there
    only while the address is verified, or they would have those rights by that.
    """
    if is_address(agent.username):
        return str(agent.username)
    if agent.permission & ~int(Permission.CUSTOMER_ALL) and not customer.email_verified:
        return ""
    if agent.permission & int(ADMIN) and customer.status != "initial" and is_address(customer.email):
        return str(customer.email)
    return ""
