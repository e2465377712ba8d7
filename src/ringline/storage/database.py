"""The PostgreSQL engine: pooled, with a time limit on everything, unbothered by a restart of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from sqlalchemy import event, exc, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ringline.errors import Unavailable
from ringline.storage import acting, tenancy
from ringline.storage.home import SETTING
from ringline.storage.listener import Following, Listener

# SQLSTATE: query_canceled (statement_timeout), idle_in_transaction, lock_not_available, too_many_connections,
# the class 57P that a server sends while it goes down or comes up, and 08: the connection broke.
_TRANSIENT_STATES = ("08", "57014", "25P03", "55P03", "53300", "57P")


class DatabaseUnavailable(Unavailable):
    """503: PostgreSQL does not answer now, or not in time."""

    default_reason = "SERVICE_UNAVAILABLE"


class Database:
    """A pool of connections to one PostgreSQL.

    ``url`` is an SQLAlchemy URL (``postgresql+asyncpg://...``). Times are in seconds. Whatever makes the
    database unusable for the moment is raised as ``DatabaseUnavailable``; errors of a statement itself (a
    broken constraint) stay SQLAlchemy's.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 20,
        max_overflow: int = 0,
        statement_timeout: float = 5.0,
        connect_timeout: float = 3.0,
        application_name: str = "ringline",
        home: str = "",
        refuse_unbound: bool = True,
    ) -> None:
        """``home``: the Asterisk that this process drives, where there are several (``storage.home``).

        ``refuse_unbound``: whether statements that forgot the customer of their request raise (``storage.tenancy``).
        """
        self.url = url
        self.home = home
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_timeout=connect_timeout,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args={
                "timeout": connect_timeout,
                # The server gives up first, so that the connection stays usable; this is for a server that
                # does not answer at all.
                "command_timeout": statement_timeout + 2.0,
                "server_settings": {
                    "application_name": application_name,
                    "statement_timeout": str(int(statement_timeout * 1000)),
                    "idle_in_transaction_session_timeout": "30000",
                    "timezone": "UTC",
                    SETTING: home,
                },
            },
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        tenancy.watch(self.engine.sync_engine, refuse=refuse_unbound)
        self.listener = Listener(url)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end of the block, in the name of whoever acts here (``acting``)."""
        with _translated():
            async with self.engine.begin() as connection:
                if (named := acting.current()) is not None:
                    named.used = True
                    await connection.execute(acting.NAME, {"actor": named.actor})
                yield connection

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reads and single changes: each statement stands alone (autocommit)."""
        with _translated():
            async with self.engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                yield connection

    async def ping(self, timeout: float = 2.0) -> None:  # noqa: ASYNC109
        """Raise ``DatabaseUnavailable`` unless the server answers a statement within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout), self.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except TimeoutError as late:
            raise DatabaseUnavailable(f"PostgreSQL gave no answer within {timeout:g} s") from late

    async def follow(
        self, channel: str, deliver: Callable[[str], None], catch_up: Callable[[], Awaitable[None]]
    ) -> Following:
        """Hear what is said on a channel (``Listener.follow``). Raises ``DatabaseUnavailable``."""
        with _translated():
            return await self.listener.follow(channel, deliver, catch_up)

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


def _refuse_closed(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
    """Have the pool replace a connection whose socket the server closed while it lay idle.

    asyncpg has seen the end of the stream by then, so this costs no round trip, unlike ``pool_pre_ping``.
    """
    if dbapi_connection.driver_connection.is_closed():
        raise exc.DisconnectionError("the server closed this connection while it was idle")


class _translated:  # noqa: N801 - used as a statement
    """Raise what means 'not now' as ``DatabaseUnavailable``."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, DatabaseUnavailable):
            return
        if _is_outage(error):
            raise DatabaseUnavailable(
                "The database cannot be used at the moment; try again in a few seconds."
            ) from error


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated:
            return True
        state = str(getattr(error.orig, "sqlstate", "") or "")
        return state.startswith(_TRANSIENT_STATES) or (
            isinstance(error, exc.InterfaceError) and "closed" in str(error.orig)
        )
    if isinstance(error, exc.TimeoutError | OSError | TimeoutError):
        return True
    state = str(getattr(error, "sqlstate", "") or "")  # asyncpg's own errors while connecting
    return bool(state) and state.startswith(_TRANSIENT_STATES)
