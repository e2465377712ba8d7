"""Registrations with providers: Kamailio keeps them up (its ``uac`` module), here it is told which."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from ringline.routing.kamailio import KamailioRefused, KamailioRpc

log = structlog.get_logger(__name__)

_COMPARED = (
    "l_username",
    "l_domain",
    "realm",
    "auth_username",
    "auth_password",
    "auth_ha1",
    "auth_proxy",
    "expires",
)
_GOODBYE_SECONDS = 0.3


class Registrations:
    """The records of Kamailio's ``uac`` module.

    Its own reload would forget which registrations are in force and register all of them anew; so records are
    refreshed and removed one by one, by what is different.
    """

    def __init__(self, kamailio: KamailioRpc) -> None:
        self._kamailio = kamailio
        self._turn = asyncio.Lock()

    async def records(self) -> dict[str, dict[str, Any]]:
        """What Kamailio has, by the user of the Contact. Secrets are among it. Raises ``Unavailable``."""
        found = await self._kamailio.call("uac.reg_dump")
        entries = found if isinstance(found, list) else []
        return {str(entry["l_uuid"]): entry for entry in entries if isinstance(entry, dict)}

    async def follow(self, wanted: Iterable[Mapping[str, Any]]) -> None:
        """Bring Kamailio's records to what is wanted (rows of its view). Raises ``Unavailable``."""
        async with self._turn:
            known = await self.records()
            rows = {str(row["l_uuid"]): row for row in wanted}
            gone = [contact for contact in known if contact not in rows]
            for contact in gone:
                await self._kamailio.call("uac.reg_unregister", "l_uuid", contact)
            for contact, row in rows.items():
                if contact not in known or _differ(row, known[contact]):
                    await self._kamailio.call("uac.reg_refresh", contact)
                    await self._register(contact)
                    log.info("registration_begun", contact=contact, domain=row["r_domain"])
            if gone:
                # the record answers the challenge of its own goodbye
                await asyncio.sleep(_GOODBYE_SECONDS)
            for contact in gone:
                await self._kamailio.call("uac.reg_remove", contact)
                log.info("registration_ended", contact=contact)

    async def _register(self, contact: str) -> None:
        try:
            await self._kamailio.call("uac.reg_register", "l_uuid", contact)
        except KamailioRefused as error:
            # its own timer does the same some seconds later
            log.warning("registration_not_begun", contact=contact, error=error.message)


def _differ(row: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    # Kamailio shows what is empty as "none".
    return any(
        str(row[name]) != str(record.get(name)) and (row[name] or record.get(name) not in ("none", "", None))
        for name in _COMPARED
    )
