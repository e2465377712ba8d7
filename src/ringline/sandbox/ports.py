"""Numbers that other carriers give up to the sandbox: a port takes a few steps, and some do not go well.

The table of endings (``magic``) is for the last four digits of the account at the old carrier.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import structlog

from ringline.sandbox.hooks import Hooks
from ringline.sandbox.journal import now
from ringline.sandbox.orders import Orders, Refused
from ringline.sandbox.shelf import Row, Shelf

log = structlog.get_logger(__name__)

PORTS: Final = "ports"
MOST_PORTS: Final = 5000
STEPS: Final = {"submitted": "in-process", "in-process": "foc-confirmed", "foc-confirmed": "ported"}
"""What follows what, each after the time that an order takes."""
ENDS: Final = frozenset({"ported", "cancelled"})


@dataclass(frozen=True, slots=True)
class Magic:
    """What goes wrong with a port.

    ``refused`` at once; an ``exception`` or the end (``rejected``) instead of an agreement; the last number
    ``stays``; ``late``: it cannot be called off; ``error``: 500 after it was taken; ``silent``: nothing is reported
    of it.
    """

    refused: str = ""
    exception: str = ""
    rejected: str = ""
    stays: bool = False
    late: bool = False
    error: bool = False
    silent: bool = False


MAGIC: Final[dict[str, Magic]] = {
    "9001": Magic(refused="There is no such account at the old carrier."),
    "9002": Magic(exception="The owner's name is another one in the old carrier's books."),
    "9003": Magic(rejected="The old carrier does not give the number up."),
    "9004": Magic(stays=True),
    "9005": Magic(late=True),
    "9006": Magic(error=True),
    "9007": Magic(silent=True),
}
_NONE: Final = Magic()


def magic(account: str) -> Magic:
    """What goes wrong with a port from this account."""
    return MAGIC.get(account[-4:], _NONE)


class Ports:
    """Ports under way. ``seconds`` is how long a step takes. Numbers that have come are held like those bought."""

    def __init__(self, shelf: Shelf, hooks: Hooks, orders: Orders, *, seconds: float) -> None:
        self._shelf = shelf
        self._hooks = hooks
        self._orders = orders
        self._seconds = seconds
        self._references: dict[str, str] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Take up the ports of a former process."""
        for row in self._shelf.table(PORTS).values():
            self._references[row["client_reference"]] = row["id"]
            if row["status"] in STEPS:
                self._arm(row["id"])

    def close(self) -> None:
        """Take no more steps."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def port(self, wanted: Row) -> tuple[Row, bool]:
        """Begin a port; and whether it is new. The same reference gives the same port. Raises ``Refused``."""
        known = self._references.get(wanted["client_reference"])
        if known is not None:
            row = self._shelf.table(PORTS)[known]
            if row["numbers"] != wanted["numbers"]:
                raise Refused(409, "reference_used", "This client_reference is of another port.")
            return row, False
        case = magic(wanted["account"])
        if case.refused:
            raise Refused(422, "account_unknown", case.refused)
        for number in wanted["numbers"]:
            if self._orders.taken(number) or self._porting(number):
                raise Refused(409, "not_portable", f"{number} is here already.")
        row = {
            "id": f"port_{secrets.token_hex(12)}",
            **wanted,
            "status": "submitted",
            "reason": "",
            "number_ids": {},
            "tm_foc": None,
            "tm_create": now(),
            "tm_done": None,
        }
        self._references[row["client_reference"]] = row["id"]
        self._keep(row)
        self._arm(row["id"])
        return row, True

    def by_id(self, port_id: str) -> Row | None:
        """The port of this id."""
        return self._shelf.table(PORTS).get(port_id)

    def by_reference(self, client_reference: str) -> Row | None:
        """The port of this client reference."""
        port_id = self._references.get(client_reference)
        return None if port_id is None else self.by_id(port_id)

    def cancel(self, port_id: str) -> Row:
        """Call a port off. Raises ``Refused``."""
        row = self.by_id(port_id)
        if row is None:
            raise Refused(404, "not_found", "There is no such port.")
        if row["status"] == "cancelled":
            return row
        if row["status"] == "ported" or magic(row["account"]).late:
            raise Refused(409, "too_late", "The old carrier has agreed already.")
        timer = self._timers.pop(port_id, None)
        if timer is not None:
            timer.cancel()
        return self._to(row, "cancelled")

    def _porting(self, number: str) -> bool:
        rows = self._shelf.table(PORTS).values()
        return any(number in row["numbers"] and row["status"] not in ENDS for row in rows)

    def _arm(self, port_id: str) -> None:
        loop = asyncio.get_running_loop()
        self._timers[port_id] = loop.call_later(self._seconds, self._step, port_id)

    def _step(self, port_id: str) -> None:
        self._timers.pop(port_id, None)
        row = self._shelf.table(PORTS)[port_id]
        case = magic(row["account"])
        following = STEPS[row["status"]]
        if following == "foc-confirmed" and case.exception:
            self._to(row, "exception", reason=case.exception)
        elif following == "foc-confirmed" and case.rejected:
            self._to(row, "cancelled", reason=case.rejected)
        elif following == "foc-confirmed":
            self._to(row, following, tm_foc=_agreed(row["wanted"]))
        elif following == "ported":
            coming = row["numbers"][:-1] if case.stays else row["numbers"]
            ids = {number: self._orders.hold(number, port_id) for number in coming}
            reason = "The old carrier has kept a number." if case.stays else ""
            self._to(row, following, number_ids=ids, reason=reason)
        else:
            self._to(row, following)
        if self._shelf.table(PORTS)[port_id]["status"] in STEPS:
            self._arm(port_id)

    def _to(self, row: Row, status: str, **changes: Any) -> Row:
        row = {**row, **changes, "status": status, "tm_done": now() if status in ENDS else None}
        self._shelf.put(PORTS, row["id"], row)
        log.info("carrier_port", id=row["id"], status=status)
        if not magic(row["account"]).silent:
            self._hooks.send("port.updated", shown(row))
        return row

    def _keep(self, row: Row) -> None:
        ports = self._shelf.table(PORTS)
        self._shelf.put(PORTS, row["id"], row)
        if len(ports) > MOST_PORTS:
            oldest = next((one for one in ports.values() if one["status"] in ENDS), None)
            if oldest is not None:
                self._references.pop(oldest["client_reference"], None)
                self._shelf.drop(PORTS, oldest["id"])


def shown(row: Row) -> Row:
    """A port as its customer sees it."""
    names = (
        "id",
        "client_reference",
        "numbers",
        "status",
        "reason",
        "number_ids",
        "tm_foc",
        "tm_create",
        "tm_done",
    )
    return {name: row[name] for name in names}


def _agreed(wanted: str | None) -> str:
    """The date that the old carrier agrees to: the wanted one, or tomorrow."""
    day = date.fromisoformat(wanted) if wanted else (datetime.now(UTC) + timedelta(days=1)).date()
    return datetime.combine(day, time(9), UTC).isoformat()
