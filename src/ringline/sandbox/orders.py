"""Numbers ordered of the sandbox and held by its customer: orders take a while, and some endings go wrong.

The table of endings (``magic``) is for the last four digits of the number that is bought.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any, Final

import structlog

from ringline.sandbox import numbers
from ringline.sandbox.hooks import Hooks
from ringline.sandbox.journal import now
from ringline.sandbox.shelf import Row, Shelf

log = structlog.get_logger(__name__)

ORDERS: Final = "orders"
HELD: Final = "numbers"
MOST_ORDERS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Magic:
    """What goes wrong with an order.

    ``answer``: how the request itself is answered, after the order was taken: ``created`` as it should be, ``error``
    500, ``cut`` broken off, ``late`` after half a minute. ``before``: the first try gets this HTTP status and
    orders nothing. ``slow``: confirmed only after ``order_slow_seconds``.
    """

    refused: str = ""
    rejected: str = ""
    slow: bool = False
    answer: str = "created"
    before: int = 0
    hook_first: bool = False
    hooks: int = 1


MAGIC: Final[dict[str, Magic]] = {
    "0901": Magic(refused="This number cannot be sold."),
    "0902": Magic(rejected="The carrier of this number rejected the order."),
    "0903": Magic(slow=True),
    "0904": Magic(answer="error"),
    "0905": Magic(answer="cut"),
    "0906": Magic(before=429),
    "0907": Magic(before=500),
    "0908": Magic(hook_first=True),
    "0909": Magic(hooks=2),
    "0910": Magic(answer="late"),
    "0912": Magic(rejected="The carrier of this number rejected the order.", slow=True),
}
_NONE: Final = Magic()


def magic(number: str) -> Magic:
    """What goes wrong with an order of this number."""
    return MAGIC.get(number[-4:], _NONE)


class Refused(Exception):
    """The customer asks for what cannot be done. ``status`` is the one of HTTP."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Orders:
    """What was ordered and what is held. ``seconds`` is how long an order takes, ``slow_seconds`` a slow one."""

    def __init__(self, shelf: Shelf, hooks: Hooks, *, seconds: float, slow_seconds: float) -> None:
        self._shelf = shelf
        self._hooks = hooks
        self._seconds = seconds
        self._slow_seconds = slow_seconds
        self._holding: dict[str, str] = {}  # number -> id of what is held
        self._ordered: dict[str, str] = {}  # number -> id of a pending order
        self._references: dict[str, str] = {}  # client reference -> id of the order
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._stumbled: set[str] = set()

    def start(self) -> None:
        """Take up the orders of a former process: those that are due are confirmed."""
        for row in self._shelf.table(HELD).values():
            self._holding[row["number"]] = row["id"]
        for row in self._shelf.table(ORDERS).values():
            self._references[row["client_reference"]] = row["id"]
            if row["status"] == "pending":
                self._ordered[row["number"]] = row["id"]
                self._arm(row, row["seconds"])

    def close(self) -> None:
        """Confirm nothing any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def counts(self) -> dict[str, int]:
        """For whoever asks how the sandbox is."""
        return {
            "numbers_total": numbers.TOTAL,
            "numbers_held": len(self._holding),
            "orders_pending": len(self._ordered),
        }

    def taken(self, number: str) -> bool:
        """Whether somebody holds the number or has ordered it."""
        return number in self._holding or number in self._ordered

    def offer(self, number: str) -> dict[str, Any] | None:
        """The number as it is sold, ``None`` where it is not (any more)."""
        offered = None if self.taken(number) else numbers.find(number)
        return None if offered is None else offered.shown()

    def order(self, client_reference: str, number: str) -> tuple[Row, bool]:
        """Order a number; and whether this order is new. The same reference gives the same order.

        Raises ``Refused``.
        """
        known = self._references.get(client_reference)
        if known is not None:
            row = self._shelf.table(ORDERS)[known]
            if row["number"] != number:
                raise Refused(409, "reference_used", f"This client_reference has ordered {row['number']}.")
            return row, False
        case = magic(number)
        if case.before and client_reference not in self._stumbled:
            self._stumbled.add(client_reference)
            raise Refused(case.before, "try_again", "Not now.")
        if self.offer(number) is None:
            raise Refused(409, "not_available", f"{number} is not available.")
        if case.refused:
            raise Refused(409, "not_available", case.refused)
        seconds = self._slow_seconds if case.slow else self._seconds
        row = {
            "id": f"ord_{secrets.token_hex(12)}",
            "client_reference": client_reference,
            "number": number,
            "status": "pending",
            "number_id": "",
            "reason": "",
            "seconds": seconds,
            "tm_create": now(),
            "tm_done": None,
        }
        self._references[client_reference] = row["id"]
        self._ordered[number] = row["id"]
        self._keep(row)
        if case.hook_first or not seconds:
            self._settle(row["id"])
        else:
            self._arm(row, seconds)
        return self._shelf.table(ORDERS)[row["id"]], True

    def by_id(self, order_id: str) -> Row | None:
        """The order of this id."""
        return self._shelf.table(ORDERS).get(order_id)

    def by_reference(self, client_reference: str) -> Row | None:
        """The order of this client reference."""
        order_id = self._references.get(client_reference)
        return None if order_id is None else self.by_id(order_id)

    def held(self, number_id: str) -> Row | None:
        """What is held under this id."""
        return self._shelf.table(HELD).get(number_id)

    def held_numbers(self, number: str = "") -> list[Row]:
        """All that is held, or this number."""
        if not number:
            return list(self._shelf.table(HELD).values())
        number_id = self._holding.get(number)
        return [] if number_id is None else [self._shelf.table(HELD)[number_id]]

    def configure(self, number_id: str, changes: Row) -> Row:
        """Change what a number does. Raises ``Refused``."""
        row = self._shelf.table(HELD).get(number_id)
        if row is None:
            raise Refused(404, "not_found", "You do not hold this number.")
        changed = {**row, **changes, "tm_update": now()}
        self._shelf.put(HELD, number_id, changed)
        return changed

    def hold(self, number: str, order_id: str) -> str:
        """A number has come, by an order or a port; its id."""
        number_id = f"num_{secrets.token_hex(12)}"
        self._holding[number] = number_id
        held = {
            "id": number_id,
            "number": number,
            "order_id": order_id,
            "voice": False,
            "messaging": False,
            "t38": False,
            "emergency": None,
            "tm_create": now(),
            "tm_update": None,
        }
        self._shelf.put(HELD, number_id, held)
        return number_id

    def release(self, number_id: str) -> Row:
        """Give a number back. It is for sale again at once. Raises ``Refused``."""
        row = self._shelf.table(HELD).get(number_id)
        if row is None:
            raise Refused(404, "not_found", "You do not hold this number.")
        self._shelf.drop(HELD, number_id)
        self._holding.pop(row["number"], None)
        log.info("carrier_number_released", number=row["number"])
        return row

    def _arm(self, row: Row, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[row["id"]] = loop.call_later(seconds, self._settle, row["id"])

    def _settle(self, order_id: str) -> None:
        """Confirm or reject a pending order and tell its customer."""
        self._timers.pop(order_id, None)
        row = self._shelf.table(ORDERS)[order_id]
        number = row["number"]
        case = magic(number)
        self._ordered.pop(number, None)
        if case.rejected:
            row = {**row, "status": "failed", "reason": case.rejected, "tm_done": now()}
        else:
            number_id = self.hold(number, order_id)
            row = {**row, "status": "done", "number_id": number_id, "tm_done": now()}
        self._shelf.put(ORDERS, order_id, row)
        log.info("carrier_order_settled", number=number, status=row["status"])
        self._hooks.send("order.updated", shown(row), times=case.hooks)

    def _keep(self, row: Row) -> None:
        orders = self._shelf.table(ORDERS)
        self._shelf.put(ORDERS, row["id"], row)
        if len(orders) > MOST_ORDERS:
            oldest = next((one for one in orders.values() if one["status"] != "pending"), None)
            if oldest is not None:
                self._references.pop(oldest["client_reference"], None)
                self._shelf.drop(ORDERS, oldest["id"])


def shown(row: Row) -> Row:
    """An order as its customer sees it."""
    return {name: value for name, value in row.items() if name != "seconds"}
