"""Addresses that Kamailio takes nothing from (``kamailio-config/guard.cfg``): looked at, made and lifted by RPC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from ringline.errors import InvalidArgument, NotFound
from ringline.routing.kamailio import KamailioRefused, KamailioRpc

REASON = "operator"
LONGEST_SECONDS = 365 * 86_400
_TABLE = "banned"
_COUNTS = ("strangers", "failures", "relapses", "knocks")
"""What leads to a ban is forgotten with it."""


@dataclass(frozen=True, slots=True)
class Ban:
    """``reason`` is ``password``, ``scanner``, ``stranger``, ``flood`` or ``operator``.

    ``proven``: the address is really the banned one's, and nothing is taken from it. Else it may be forged (UDP), and
    phones that have shown a password from there are heard all the same.
    """

    address: str
    reason: str
    proven: bool
    until: datetime


class BanNotFound(NotFound):
    """404: nobody has banned this address."""

    default_reason = "BAN_NOT_FOUND"


class Bans:
    """The ban table of one Kamailio. Raises ``Unavailable`` where that does not answer."""

    def __init__(self, kamailio: KamailioRpc) -> None:
        self._kamailio = kamailio

    async def all(self) -> list[Ban]:
        """Who is banned now, those who are released last at the end."""
        found = await self._kamailio.call("htable.dump", _TABLE)
        slots = found if isinstance(found, list) else []
        items = [item for slot in slots if isinstance(slot, dict) for item in slot.get("slot", ())]
        now = datetime.now(UTC)
        bans = [ban for item in items if (ban := _ban(item)) is not None and ban.until > now]
        return sorted(bans, key=lambda ban: (ban.until, ban.address))

    async def add(self, address: str, seconds: int) -> Ban:
        """Ban an address, whatever it did; in place of a ban that it has. Raises ``InvalidArgument``.

        Kamailio hears this machine, Asterisk and providers all the same.
        """
        checked = _checked(address)
        if not 1 <= seconds <= LONGEST_SECONDS:
            raise InvalidArgument(f"seconds: must be from 1 to {LONGEST_SECONDS}, not {seconds}")
        until = int(datetime.now(UTC).timestamp()) + seconds
        await self._kamailio.call("htable.sets", _TABLE, checked, f"{until},proven,{REASON}")
        await self._kamailio.call("htable.setex", _TABLE, checked, seconds)
        return Ban(checked, REASON, True, datetime.fromtimestamp(until, UTC))

    async def clear(self, address: str) -> Ban:
        """Lift a ban and return what it was. Raises ``InvalidArgument``, and ``BanNotFound`` where there is none."""
        checked = _checked(address)
        lifted = next((ban for ban in await self.all() if ban.address == checked), None)
        if lifted is None:
            raise BanNotFound(f"{checked} is not banned; GET /v1.0/bans and `ringline ban list` show who is.")
        for table in (_TABLE, *_COUNTS):
            try:
                await self._kamailio.call("htable.delete", table, checked)
            except KamailioRefused:
                if table == _TABLE:
                    raise
        return lifted

    async def clear_all(self) -> int:
        """Lift all bans; how many there were."""
        present = await self.all()
        for table in (_TABLE, *_COUNTS):
            await self._kamailio.call("htable.flush", table)
        return len(present)


def _checked(address: str) -> str:
    try:
        return str(ip_address(address.strip().strip("[]")))
    except ValueError:
        raise InvalidArgument(f"address: {address[:60]!r} is not an IP address such as 203.0.113.7") from None


def _ban(item: Any) -> Ban | None:
    if not isinstance(item, dict):
        return None
    until, _, rest = str(item.get("value", "")).partition(",")
    proof, _, reason = rest.partition(",")
    if not until.isdigit():
        return None
    return Ban(str(item.get("name", "")), reason, proof == "proven", datetime.fromtimestamp(int(until), UTC))
