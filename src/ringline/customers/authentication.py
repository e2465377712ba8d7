"""Who a credential belongs to, decided from memory alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from uuid import UUID

import structlog
from sqlalchemy import bindparam, update

from ringline.customers.directory import AccesskeyDirectory, AgentDirectory, CustomerDirectory
from ringline.customers.freezing import account_frozen
from ringline.customers.tables import accesskeys
from ringline.customers.tokens import InvalidToken, Tokens, accesskey_hash
from ringline.errors import Unauthenticated
from ringline.http import Credential, Permission, Principal, utc_now
from ringline.storage import Database

log = structlog.get_logger(__name__)

_JWT_DOTS = 2
_WRITE_USE_EVERY = 60.0


class Authentication:
    """The ``Authenticator`` of the API. Each answer takes a few microseconds.

    Access keys, agents and customers come from mirrors that follow the database, so a deleted one is refused
    at once, and an outage of PostgreSQL stops nobody.
    """

    def __init__(
        self,
        database: Database,
        *,
        customers: CustomerDirectory,
        agents: AgentDirectory,
        keys: AccesskeyDirectory,
        tokens: Tokens,
    ) -> None:
        self._database = database
        self._customers = customers
        self._agents = agents
        self._keys = keys
        self._tokens = tokens
        self._used: set[UUID] = set()
        self._writer: asyncio.Task[None] | None = None

    def authenticate(self, credential: Credential, *, frozen: bool = False) -> Principal:
        """The principal. Raises ``Unauthenticated`` (``INVALID_CREDENTIALS``) or ``PermissionDenied``.

        The latter of a frozen customer, unless ``frozen`` says that it may do even so.
        """
        token = credential.token
        is_jwt = token.count(".") == _JWT_DOTS
        if credential.kind != "any" and is_jwt != (credential.kind == "jwt"):
            raise _invalid(
                "`token` takes the token of a login; an access key goes into `accesskey`"
                if credential.kind == "jwt"
                else "`accesskey` takes an access key; the token of a login goes into `token`"
            )
        principal = self._agent(token) if is_jwt else self._accesskey(token)
        self._check_customer(principal.customer_id, frozen=frozen)
        return principal

    def _agent(self, token: str) -> Principal:
        try:
            claims = self._tokens.check(token)
        except InvalidToken as why:
            raise _invalid(str(why)) from None
        agent = self._agents.by_id(claims.agent_id)
        if agent is None:
            raise _invalid("the agent of this token does not exist any more")
        if agent.password_version != claims.password_version:
            raise _invalid("the password has been changed since; log in again")
        return Principal(
            agent.customer_id,
            agent.id,
            None,
            agent.permission,
            agent.username,
            token_id=claims.id,
            token_expires=claims.expires,
        )

    def _accesskey(self, token: str) -> Principal:
        key = self._keys.by_hash(accesskey_hash(token))
        if key is None:
            raise _invalid("the access key is unknown or was deleted")
        if key.tm_expire is not None and key.tm_expire.timestamp() <= time.time():
            raise _invalid("the access key has expired")
        self._used.add(key.id)
        return Principal(key.customer_id, None, key.id, Permission.CUSTOMER_ADMIN)

    def _check_customer(self, customer_id: UUID, *, frozen: bool) -> None:
        customer = self._customers.by_id(customer_id)
        if customer is None or customer.status in ("deleted", "expired"):
            raise _invalid("the customer of this credential does not exist any more")
        if customer.status == "frozen" and not frozen:
            raise account_frozen(customer)

    async def start(self) -> None:
        """Write the times of last use behind the requests."""
        self._writer = asyncio.create_task(self._keep_writing(), name="accesskey use")

    async def close(self) -> None:
        """Write what is left and stop."""
        if self._writer is not None:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
        await self.write_use()

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_USE_EVERY)
            await self.write_use()

    async def write_use(self) -> None:
        """Store that keys were used since the last time; when the database is away, with the next."""
        used, self._used = self._used, set()
        if not used:
            return
        statement = (
            update(accesskeys).where(accesskeys.c.id == bindparam("key")).values(tm_last_use=utc_now())
        )
        try:
            async with self._database.begin() as connection:
                await connection.execute(statement, [{"key": key} for key in used])
        except Exception as error:  # noqa: BLE001 - a statistic must not stop anything
            self._used |= used
            log.warning("accesskey_use_not_written", keys=len(used), error=str(error))


def _invalid(why: str) -> Unauthenticated:
    return Unauthenticated(f"The credential cannot be used: {why}.", reason="INVALID_CREDENTIALS")
