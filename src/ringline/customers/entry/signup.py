"""Signing up: whoever asks learns nothing of who is there already.

Every sign-up makes a customer and answers alike; it waits for its verification under a name that nobody logs in with.
Only the mail differs: an address that is somebody's login already gets no token, so that its customer expires.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.audit import Actor, Trail
from ringline.customers import mailed, making
from ringline.customers.directory import AccesskeyDirectory, AgentDirectory, CustomerDirectory
from ringline.customers.entry.letters import Letters
from ringline.customers.entry.models import SignUp
from ringline.customers.limiter import Limiter
from ringline.customers.own_webhook import CheckUrl, check_webhook_uri
from ringline.customers.tables import agents, customers
from ringline.errors import PermissionDenied, ResourceExhausted
from ringline.http import utc_now
from ringline.mail import Letter
from ringline.storage import Database

log = structlog.get_logger(__name__)

Post = Callable[[Letter], None]

_COPIED: Final = ("name", "detail", "phone_number", "address", "webhook_method", "webhook_uri")


class Signups:
    """Sign-ups and their verification. ``enabled``: whether strangers may sign up at all."""

    def __init__(
        self,
        database: Database,
        directories: tuple[CustomerDirectory, AgentDirectory, AccesskeyDirectory],
        trail: Trail,
        furnish: making.Furnish,
        letters: Letters,
        post: Post,
        *,
        enabled: bool,
        check_url: CheckUrl | None = None,
    ) -> None:
        self._database = database
        self._customers, self._agents, self._keys = directories
        self._trail = trail
        self._furnish = furnish
        self._letters = letters
        self._post = post
        self._enabled = enabled
        self._check_url = check_url
        self._by_address = Limiter(rate=1 / 30, burst=20)
        self._by_mailbox = Limiter(rate=1 / 600, burst=3)

    async def sign_up(self, wanted: SignUp, remote: str, request_id: str) -> making.Made:
        """A customer that waits for its verification. Raises ``PermissionDenied``, ``ResourceExhausted``,
        ``InvalidArgument``.
        """
        if not self._enabled:
            raise PermissionDenied(
                "Sign-up is switched off here: ask the administrator of this installation for an account. (The "
                "setting is RINGLINE_SIGNUP_ENABLED.)",
                reason="SIGNUP_DISABLED",
            )
        if wait := self._by_address.take(remote):
            raise too_many(wait)
        check_webhook_uri(wanted.webhook_uri, self._check_url)
        email = wanted.email.lower()
        values = {
            **{name: getattr(wanted, name) for name in _COPIED},
            "email": email,
            "status": "initial",
            "tm_terms_accepted": utc_now(),
        }
        actor = Actor("none", remote=remote, request_id=request_id, operation="POST /auth/signup")
        with self._trail.by(actor):
            async with self._database.begin() as connection:
                made = await making.make(connection, self._furnish, values)
                present = await _agent_named(connection, email)
                token = await mailed.issue(
                    connection, "verify", made.customer.id, made.agent.id, mailed.VERIFY_LIFE
                )
        await self._customers.refresh(made.customer.id)
        await self._agents.refresh(made.agent.id)
        await self._keys.refresh(made.accesskey.id)
        # somebody's mailbox is not to be filled by whoever knows its address
        if self._by_mailbox.take(email):
            log.warning("signup_mail_withheld", customer_id=str(made.customer.id))
        else:
            self._post(self._letters.verify(email, token) if present is None else self._letters.known(email))
        log.info("signed_up", customer_id=str(made.customer.id), remote=remote)
        return made

    async def verify(self, token: str, remote: str, request_id: str) -> tuple[Row[Any], str, str]:
        """The customer, the name of its admin's login, and a token to choose a password with.

        Raises ``InvalidArgument`` (``INVALID_TOKEN``).
        """
        actor = Actor("none", remote=remote, request_id=request_id, operation="POST /auth/email-verify")
        try:
            with self._trail.by(actor):
                async with self._database.begin() as connection:
                    customer, agent, password_token = await self._verify(connection, token)
        except IntegrityError as error:
            if making.name_taken(error):
                # the address has become somebody's login since: no word of that to whoever it is
                raise mailed.invalid() from error
            raise
        await self._customers.refresh(customer.id)
        await self._agents.refresh(agent.id)
        log.info("email_verified", customer_id=str(customer.id))
        return customer, agent.username, password_token

    async def _verify(self, connection: AsyncConnection, token: str) -> tuple[Row[Any], Row[Any], str]:
        used = await mailed.take(connection, "verify", token)
        now = utc_now()
        waiting = (
            customers.c.id == used.customer_id,
            customers.c.status == "initial",
            customers.c.tm_delete.is_(None),
        )
        customer = (
            await connection.execute(
                sa.update(customers)
                .where(*waiting)
                .values(status="active", email_verified=True, tm_update=now)
                .returning(customers)
            )
        ).first()
        if customer is None:
            raise mailed.invalid()
        agent = (
            await connection.execute(
                sa.update(agents)
                .where(agents.c.id == used.agent_id, agents.c.tm_delete.is_(None))
                .values(username=customer.email, tm_update=now)
                .returning(agents)
            )
        ).first()
        if agent is None:
            raise mailed.invalid()
        await mailed.drop(connection, agent.id, "verify")
        fresh = await mailed.issue(connection, "reset", customer.id, agent.id, mailed.RESET_LIFE)
        return customer, agent, fresh


async def _agent_named(connection: AsyncConnection, name: str) -> Row[Any] | None:
    statement = sa.select(agents.c.id).where(
        sa.func.lower(agents.c.username) == name, agents.c.tm_delete.is_(None)
    )
    row: Row[Any] | None = (await connection.execute(statement)).first()
    return row


def too_many(wait: float) -> ResourceExhausted:
    """429 with the seconds to wait."""
    seconds = max(1, round(wait + 0.5))
    return ResourceExhausted(
        f"Too many requests from here; try again in {seconds} s.", details=[{"retry_after": seconds}]
    )
