"""What vendors report: texts for our numbers, and how texts of ours fared. Twice, late, early, in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import usage
from ringline.errors import RinglineError
from ringline.http import utc_now
from ringline.messages import metrics, store
from ringline.messages.records import Arrived
from ringline.messages.states import Reason, Status, may_follow
from ringline.messages.writing import Numbers, Writer
from ringline.sip import e164
from ringline.sip.address import Address
from ringline.storage import Database
from ringline.vendors.events import TextArrived, TextChanged
from ringline.vendors.models import Sent

log = structlog.get_logger(__name__)

MAX_TEXT: Final = 10_000
"""Characters of an inbound text; carriers put together 1,600 or so. What is longer is cut."""
MAX_MEDIA: Final = 20
MAX_URL: Final = 2048
_MAX_DETAIL: Final = 500


class ReportTooEarly(RinglineError):
    """A text, or a report of one, of whose number or id at the vendor we are about to hear: to be brought again."""

    http_status = 503
    retryable = True


class Reports:
    """The consumers of ``vendors.events``: idempotent, and safe to run at once."""

    def __init__(
        self, database: Database, numbers: Numbers, active: Callable[[UUID], bool], writer: Writer
    ) -> None:
        self._database = database
        self._numbers = numbers
        self._active = active
        self._writer = writer

    async def arrived(self, vendor: str, event: TextArrived) -> None:
        """Somebody texts one of our numbers (``Consumers.text_arrived``). Raises ``ReportTooEarly``."""
        number = self._numbers.by_number(e164.from_network(event.destination))
        if number is not None and number.status == "purchase-pending":
            # bought there, and not yet known to be bought here: nobody texts it again for us
            raise ReportTooEarly(f"{number.number} is being bought")
        dropped = ""
        if number is None or number.type != "normal":
            dropped = "unknown_number"
        elif number.status != "active":
            dropped = f"number_{number.status}".replace("-", "_")
        elif not self._active(number.customer_id):
            dropped = "customer_not_active"
        if dropped or number is None:
            metrics.texts.labels("inbound", dropped).inc()
            log.info("text_dropped", vendor=vendor, reason=dropped, number=event.destination[:20])
            return
        arrived = Arrived(
            vendor=vendor,
            reference=(event.reference or event.event_id)[:200],
            number=number,
            source=Address(type="tel", target=e164.from_network(_clean(event.source))[:255]),
            text=_clean(event.text)[:MAX_TEXT],
            media=tuple(one for one in event.media[:MAX_MEDIA] if len(one.url) <= MAX_URL),
        )
        async with self._database.begin() as connection:
            stored = await self._writer.receive(connection, arrived)
        if not stored:
            metrics.texts.labels("inbound", "duplicate").inc()
            return
        self._writer.committed()

    async def changed(self, vendor: str, event: TextChanged) -> None:
        """A text of ours went on (``Consumers.text_changed``). Raises ``ReportTooEarly``."""
        async with self._database.begin() as connection:
            target_id = event.text_id
            if target_id is None and event.sent.reference:
                target_id = await store.of_reference(connection, vendor, event.sent.reference)
            if target_id is None:
                if await store.handed_to(connection, vendor, event.destination):
                    raise ReportTooEarly(f"the text {event.sent.reference!r} of {vendor} is not known yet")
                outcome = "unknown"
            else:
                outcome = await settle(connection, target_id, vendor, event.sent)
        metrics.reports.labels(outcome).inc()
        if outcome == "unknown":
            log.info("report_of_unknown_text", vendor=vendor, reference=event.sent.reference[:64])


async def settle(connection: AsyncConnection, target_id: UUID, vendor: str, sent: Sent) -> str:
    """Bring a target to what its vendor says of it: ``applied``, ``late`` where that is no news, ``unknown``."""
    row = await store.locked(connection, target_id)
    if row is None or row.vendor != vendor:
        return "unknown"
    changes: dict[str, Any] = {}
    if row.step:
        # the vendor has it: nobody asks it again
        changes |= {"step": "", "tm_due": None, "detail": ""}
    if sent.reference and not row.reference:
        changes["reference"] = sent.reference[:200]
    if sent.parts > 0 and sent.parts != row.parts:
        changes["parts"] = sent.parts
    status = Status(sent.state)
    if may_follow(Status(row.status), row.reason, status):
        failed = status is Status.FAILED
        changes |= {
            "status": status.value,
            "reason": Reason.UNDELIVERED.value if failed else "",
            "detail": _clean(sent.reason)[:_MAX_DETAIL] if failed else "",
        }
        metrics.texts.labels("outbound", changes["reason"] or status.value).inc()
    if not changes:
        return "late"
    await store.settle(connection, target_id, row.message_id, changes, utc_now())
    if changes.get("status") == Status.FAILED:
        await usage.give_back(connection, target_id, utc_now(), changes["detail"])
    return "applied" if "status" in changes else "late"


def _clean(text: str) -> str:
    """What PostgreSQL's text can hold: no U+0000, no halves of surrogate pairs."""
    return text.replace("\0", "").encode(errors="replace").decode()
