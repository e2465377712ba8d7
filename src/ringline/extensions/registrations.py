"""Which phones are registered, in memory: what a call to an extension must know of them."""

from __future__ import annotations

import asyncio
from uuid import UUID

import sqlalchemy as sa
import structlog

from ringline.extensions.directory import ExtensionDirectory
from ringline.extensions.store import WEBRTC_FLAG, locations
from ringline.storage import Database
from ringline.storage.listener import Following

log = structlog.get_logger(__name__)

PLAIN = "kamailio"
WEBRTC = "webrtc"
"""Kinds of contacts, by the Asterisk endpoint that speaks with them (``asterisk-config/pjsip.conf``)."""

_NONE: frozenset[str] = frozenset()


class RegistrationDirectory:
    """The contacts of all extensions, followed through the channel ``ringline_location``.

    Kamailio writes them, and a trigger says which come and go, not when one is refreshed (migration 0012). So a
    contact that ran out is known here until Kamailio removes it, some seconds later; a call to it ends with 480.
    While PostgreSQL is away what was known last is served; after a reconnect all are read again.
    """

    def __init__(self, database: Database, extensions: ExtensionDirectory) -> None:
        self._database = database
        self._extensions = extensions
        self._records: dict[str, str] = {}
        self._kinds: dict[str, dict[str, str]] = {}
        self._reading = asyncio.Lock()
        # what is said while all are read, which may be older
        self._heard: list[str] | None = None
        self._following: Following | None = None

    async def start(self) -> None:
        """Follow changes, and read all contacts once. Raises ``DatabaseUnavailable``."""
        self._following = await self._database.follow("ringline_location", self._notified, self.reload)
        await self.reload()

    async def close(self) -> None:
        """Stop following; what is known stays readable."""
        if self._following is not None:
            await self._database.listener.leave(self._following)

    def __len__(self) -> int:
        """How many contacts are registered."""
        return len(self._records)

    def kinds(self, extension_id: UUID) -> frozenset[str]:
        """Which kinds of contacts the extension has (``PLAIN``, ``WEBRTC``); none where it is not registered."""
        extension = self._extensions.by_id(extension_id)
        if extension is None:
            return _NONE
        known = self._kinds.get(f"{extension.extension}@{extension.domain_name}")
        return frozenset(known.values()) if known else _NONE

    def count(self, record: str) -> int:
        """How many contacts are registered for an address of record, ``user@domain``."""
        return len(self._kinds.get(record, ()))

    async def reload(self) -> None:
        """Read everything again."""
        now = sa.func.timezone("utc", sa.func.now())
        statement = sa.select(
            locations.c.ruid, locations.c.username, locations.c.domain, locations.c.cflags
        ).where(locations.c.expires > now)
        # One read at a time: an older answer must not be put over a newer one.
        async with self._reading:
            heard: list[str] = []
            self._heard = heard
            try:
                async with self._database.connect() as connection:
                    rows = (await connection.execute(statement)).all()
                self._records.clear()
                self._kinds.clear()
                for row in rows:
                    self._put(row.ruid, f"{row.username}@{row.domain or ''}", row.cflags & WEBRTC_FLAG)
            finally:
                self._heard = None
                for payload in heard:
                    self._notified(payload)

    def _notified(self, payload: str) -> None:
        if self._heard is not None:
            self._heard.append(payload)
            return
        what, ruid, flag, record = payload.split(" ", 3)
        if what == "here":
            self._put(ruid, record, int(flag))
        else:
            self._drop(ruid)

    def _put(self, ruid: str, record: str, flag: int) -> None:
        self._drop(ruid)
        self._records[ruid] = record
        self._kinds.setdefault(record, {})[ruid] = WEBRTC if flag else PLAIN

    def _drop(self, ruid: str) -> None:
        record = self._records.pop(ruid, None)
        if record is not None:
            contacts = self._kinds[record]
            del contacts[ruid]
            if not contacts:
                del self._kinds[record]
