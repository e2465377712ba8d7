"""What `/readyz` looks at: the stores in every role, Asterisk where it is driven, the edge where it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringline.app import Controller
    from ringline.http import Readiness
    from ringline.storage import Database, Live


def watch_stores(readiness: Readiness, database: Database, live: Live) -> None:
    """What every role needs."""

    async def postgresql() -> str | None:
        await database.ping()
        return None

    async def redis() -> str | None:
        await live.ping()
        return None

    readiness.add("database", postgresql)
    readiness.add("redis", redis)


def watch_calls(parts: Controller) -> None:
    async def asterisk() -> str | None:
        if not parts.ari.connected:
            raise ConnectionError("the event connection is down")
        await parts.ari.request("GET", "asterisk/ping")
        return None

    parts.readiness.add("ari", asterisk)
    watch_edge(parts)
    parts.readiness.add("calls", parts.recovery.status)


def watch_edge(parts: Controller) -> None:
    """Kamailio, for those who tell it things."""

    async def kamailio() -> str | None:
        await parts.kamailio.ping()
        return None

    parts.readiness.add("kamailio", kamailio)
