"""Callers who ring in: which number they dialled, whose it is, and what runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import structlog

from ringline.calls import metrics
from ringline.calls.call import ZERO, Call
from ringline.calls.states import Direction, Status
from ringline.customers import CustomerDirectory
from ringline.http import utc_now
from ringline.numbers import NumberDirectory
from ringline.sip import identity
from ringline.sip.address import Address
from ringline.sip.cause import Cause

log = structlog.get_logger(__name__)

_ARGUMENTS = 6
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""A display name may say anything; what no database and no log takes is left out."""


class Inbound:
    """Admits incoming channels (``calls.switchboard.Arrivals``). Looks only into memory."""

    def __init__(
        self, numbers: NumberDirectory, customers: CustomerDirectory, overloaded: Callable[[], bool]
    ) -> None:
        self._numbers = numbers
        self._overloaded = overloaded
        self._customers = customers
        self.draining = False

    def admit(self, channel: dict[str, Any], args: list[str]) -> Call | Cause:
        """A call for a number that has a flow, else the cause to refuse it with.

        ``args`` come from Asterisk's dialplan (``asterisk-config/extensions.conf``), URI-encoded: dialled number,
        kind of source, provider, From, P-Asserted-Identity, Privacy.
        """
        values = [_CONTROL.sub("", unquote(value)) for value in args] + [""] * (_ARGUMENTS - len(args))
        dialled, kind, _, from_header, asserted, privacy = values[:_ARGUMENTS]
        number = self._numbers.by_number(dialled)
        refusal: tuple[str, Cause] | None = None
        if self.draining:
            refusal = "draining", Cause.NORMAL_CIRCUIT_CONGESTION
        elif self._overloaded():
            refusal = "overloaded", Cause.NORMAL_CIRCUIT_CONGESTION
        elif number is None:
            refusal = "unknown_number", Cause.UNALLOCATED
        elif number.status != "active":
            refusal = "number_not_active", Cause.NO_ANSWER
        elif number.call_flow_id is None:
            refusal = "no_flow", Cause.NO_ANSWER
        else:
            customer = self._customers.by_id(number.customer_id)
            if customer is None or customer.status != "active":
                refusal = "customer_not_active", Cause.NORMAL_CIRCUIT_CONGESTION
        if refusal is not None:
            metrics.calls_refused.labels(refusal[0]).inc()
            log.info("call_refused", reason=refusal[0], dialled=dialled[:40], source=kind[:20])
            return refusal[1]
        assert number is not None  # noqa: S101 - refused above
        who = identity.caller(from_header, asserted, privacy)
        return Call(
            id=uuid4(),
            customer_id=number.customer_id,
            direction=Direction.INCOMING,
            source=Address(type="tel", target=who.number[:255], target_name=who.display[:255]),
            destination=Address(type="tel", target=dialled),
            channel_id=channel["id"],
            status=Status.RINGING,
            flow_id=number.call_flow_id or ZERO,
            anonymous=who.anonymous,
            sip_call_id=channel.get("protocol_id", ""),
            tm_create=(now := utc_now()),
            tm_ringing=now,
        )
