"""What one text makes in the database, in one transaction: its message, its targets, and what follows of itself.

A text to a number of the installation is delivered by being stored: as the other customer's inbound message. STOP,
HELP and START have their effect, and their answer, where an inbound message is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID, uuid5

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import usage
from ringline.billing.usage import Use
from ringline.http import utc_now
from ringline.messages import keywords, metrics, parts, store
from ringline.messages.keywords import Word
from ringline.messages.records import INSIDE, ZERO, Arrived, Draft, media_rows, tel
from ringline.messages.states import Reason, Status, overall
from ringline.numbers import Number
from ringline.sip import e164
from ringline.sip.address import Address
from ringline.storage import tenancy
from ringline.vendors.events import Media
from ringline.vendors.models import Capability
from ringline.vendors.registry import Vendors

log = structlog.get_logger(__name__)

STOPPED: Final = "You will get no more messages from this number. Reply START to get them again."
STARTED: Final = "You will get messages from this number again. Reply HELP for help, STOP to get no more."
HELP: Final = "Reply STOP to get no more messages from this number. Message and data rates may apply."
"""What is answered to HELP unless the operator says something else."""


class Numbers(Protocol):
    """``numbers.NumberDirectory``."""

    def by_number(self, number: str) -> Number | None: ...


class Writer:
    """Stores texts. ``wake`` is called (by ``committed``) when there is work for those who send and start flows."""

    def __init__(
        self,
        numbers: Numbers,
        active: Callable[[UUID], bool],
        vendors: Vendors,
        *,
        optouts: bool = True,
        help_text: str = HELP,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``active``: whether a customer is. Without ``optouts`` carriers see to STOP, HELP and START themselves."""
        self._numbers = numbers
        self._active = active
        self._vendors = vendors
        self._optouts = optouts
        self._help = help_text or HELP
        self._wake = wake

    def committed(self) -> None:
        """What was stored is there for others to see."""
        self._wake()

    def inside(self, number: str) -> Number | None:
        """The number of the installation that this is, if it is held and not only ordered."""
        found = self._numbers.by_number(number)
        return found if found is not None and found.status in ("active", "suspended") else None

    async def send(self, connection: AsyncConnection, draft: Draft) -> bool:
        """Store a text to send; ``False`` where its id is there already: then nothing was done.

        Raises ``InsufficientBalance``.
        """
        now = utc_now()
        numbers = [address.target for address in draft.destinations]
        stopped: set[str] = set()
        if self._optouts and not draft.automatic:
            stopped = await store.stopped(connection, draft.customer_id, draft.source.number, numbers)
        took = parts.count(draft.text).number
        rows, inside = [], []
        for position, address in enumerate(draft.destinations):
            row = {
                "id": draft.target_id(address.target),
                "message_id": draft.id,
                "customer_id": draft.customer_id,
                "position": position,
                "source_number": draft.source.number,
                "destination": address.as_json(),
                "destination_number": address.target,
                "parts": took,
                "tm_create": now,
                **self._fate(draft, address, stopped, now),
            }
            rows.append(row)
            if row["vendor"] == INSIDE:
                inside.append(row)
        message = {
            "id": draft.id,
            "customer_id": draft.customer_id,
            "type": "mms" if draft.media else "sms",
            "direction": "outbound",
            "status": overall(Status(row["status"]) for row in rows).value,
            "source": draft.shown.as_json(),
            "source_number": draft.source.number,
            "text": draft.text,
            "media": [{"url": url, "content_type": ""} for url in draft.media],
            "activeflow_id": draft.activeflow_id,
            "hops": draft.hops,
            "automatic": draft.automatic,
            "tm_create": now,
        }
        if not await store.insert_message(connection, message):
            return False
        await store.insert_targets(connection, rows)
        # what leaves the installation is paid with the intention, and given back where it fails
        leaving = [
            Use("sms", row["destination_number"], "sms", row["id"], pieces=took)
            for row in rows
            if row.get("step") == "queued"
        ]
        await usage.charge(connection, draft.customer_id, leaving, now, forced=draft.automatic)
        for row in rows:
            metrics.texts.labels("outbound", row["reason"] or row["status"]).inc()
        for row in inside:
            await self._deliver(connection, draft, row)
        return True

    async def receive(self, connection: AsyncConnection, arrived: Arrived) -> bool:
        """Store a text that has arrived, and do what it says; ``False`` where it is there already."""
        number, now = arrived.number, utc_now()
        flow_id = number.message_flow_id or ZERO
        message = {
            "id": arrived.id,
            "customer_id": number.customer_id,
            "type": "mms" if arrived.media else "sms",
            "direction": "inbound",
            "status": Status.DELIVERED.value,
            "source": arrived.source.as_json(),
            "source_number": arrived.source.target,
            "text": arrived.text,
            "media": media_rows(arrived.media),
            "vendor": arrived.vendor,
            "reference": arrived.reference,
            "flow_id": flow_id,
            "flow_state": "" if flow_id == ZERO else "pending",
            "activeflow_id": ZERO if flow_id == ZERO else uuid5(arrived.id, "flow"),
            "hops": arrived.hops,
            "automatic": arrived.automatic,
            "tm_create": now,
        }
        if not await store.insert_message(connection, message):
            return False
        target = {
            "id": uuid5(arrived.id, number.number),
            "message_id": arrived.id,
            "customer_id": number.customer_id,
            "position": 0,
            "source_number": arrived.source.target,
            "destination": tel(number.number).as_json(),
            "destination_number": number.number,
            "status": Status.DELIVERED.value,
            "parts": parts.count(arrived.text).number,
            "vendor": arrived.vendor,
            "tm_create": now,
            "tm_update": now,
        }
        await store.insert_targets(connection, [target])
        metrics.texts.labels("inbound", "received").inc()
        if self._optouts and not arrived.automatic:
            await self._heed(connection, arrived)
        return True

    def _fate(self, draft: Draft, address: Address, stopped: set[str], now: datetime) -> dict[str, Any]:
        """Where a target stands from the beginning, and who carries it."""
        number = address.target
        if number in stopped:
            return _failed(
                Reason.OPTED_OUT, f"{number} has said STOP to {draft.source.number}; only its START ends that"
            )
        ours = self.inside(number)
        if ours is not None:
            if ours.status != "active":
                return _failed(Reason.NUMBER_NOT_ACTIVE, f"{number} is {ours.status}")
            if not self._active(ours.customer_id):
                return _failed(Reason.NOT_REACHABLE, f"{number} takes no texts now")
            return {**_said(Status.DELIVERED), "vendor": INSIDE, "tm_update": now}
        if e164.is_virtual(number):
            return _failed(Reason.UNKNOWN_NUMBER, f"{number} is no number of this installation")
        provider = draft.source.provider_name
        vendor = self._vendors.get(provider)
        if (
            draft.source.type != "normal"
            or vendor is None
            or Capability.SEND_MESSAGE not in vendor.capabilities
        ):
            return _failed(
                Reason.NO_PROVIDER,
                f"{draft.source.number} has no provider that could carry a text to {number}",
            )
        return {**_said(Status.SENDING), "vendor": provider, "step": "queued", "tm_due": now}

    async def _deliver(self, connection: AsyncConnection, draft: Draft, row: dict[str, Any]) -> None:
        number = self._numbers.by_number(row["destination_number"])
        if (
            number is None
        ):  # it was judged a moment ago, and nothing was waited for in which it could have gone
            return
        # the number, and what becomes of the text there, may be another customer's
        with tenancy.across():
            await self.receive(
                connection,
                Arrived(
                    vendor=INSIDE,
                    reference=str(row["id"]),
                    number=number,
                    source=tel(draft.source.number),
                    text=draft.text,
                    media=tuple(Media(url, "") for url in draft.media),
                    automatic=draft.automatic,
                    hops=draft.hops,
                ),
            )

    async def _heed(self, connection: AsyncConnection, arrived: Arrived) -> None:
        """Do what STOP, START or HELP says, and answer it: what changes nothing is not answered."""
        word = keywords.word(arrived.text)
        number, handset = arrived.number, arrived.source.target
        if word is None:
            return
        answer = ""
        now = utc_now()
        if word is Word.STOP:
            row = {
                "id": uuid5(arrived.id, "stop"),
                "customer_id": number.customer_id,
                "number": number.number,
                "handset": handset,
                "tm_create": now,
            }
            if await store.stop(connection, row):
                answer = STOPPED
        elif word is Word.START:
            if await store.start(connection, number.customer_id, number.number, handset, now):
                answer = STARTED
        elif number.message_flow_id in (None, ZERO):
            # a flow answers for itself
            answer = self._help
        log.info("message_keyword", word=word.value, number_id=str(number.id), answered=bool(answer))
        if answer and (e164.is_e164(handset) or e164.is_virtual(handset)):
            draft = Draft(
                id=uuid5(arrived.id, "answer"),
                customer_id=number.customer_id,
                source=number,
                shown=tel(number.number),
                destinations=[tel(handset)],
                text=answer,
                automatic=True,
            )
            await self.send(connection, draft)


def _said(status: Status, reason: Reason = Reason.NONE, detail: str = "") -> dict[str, Any]:
    return {
        "status": status.value,
        "reason": reason.value,
        "detail": detail,
        "vendor": "",
        "step": "",
        "tm_due": None,
        "tm_update": None,
    }


def _failed(reason: Reason, detail: str) -> dict[str, Any]:
    return {**_said(Status.FAILED, reason, detail), "tm_update": utc_now()}


def without_duplicates(addresses: Sequence[Address]) -> list[Address]:
    """Each number once; the first that names it stays."""
    first: dict[str, Address] = {}
    for address in addresses:
        first.setdefault(address.target, address)
    return list(first.values())
