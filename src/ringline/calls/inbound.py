"""Callers who ring in: which number they dialled, whose it is, and what runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes
from uuid import UUID, uuid4

import structlog

from ringline.calls import metrics
from ringline.calls.call import ZERO, Call
from ringline.calls.limits import Limits
from ringline.calls.states import Direction, Status
from ringline.customers import CustomerDirectory
from ringline.http import utc_now
from ringline.numbers import Number, NumberDirectory
from ringline.sip import e164, identity
from ringline.sip.address import Address
from ringline.sip.cause import Cause

log = structlog.get_logger(__name__)

ACCOUNTS = ("extension", "trunk")
"""Kinds of sources that prove an account."""
_ARGUMENTS = 6
_PLAIN = 3
"""The first arguments are not encoded."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""A display name may say anything; what no database and no log takes is left out."""


class Refusal(NamedTuple):
    """Why a caller is not let in (a code, which is counted), and the cause to tell (Q.850)."""

    reason: str
    cause: Cause


BROKE = Refusal("balance_exhausted", Cause.SWITCH_CONGESTION)
"""The balance does not pay for it. Kamailio knows it by its cause, and says so (``kamailio-config/inbound.cfg``)."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A caller at the door, as Kamailio and Asterisk tell of it (``asterisk-config/extensions.conf``), decoded.

    ``source`` is ``provider``, ``internal``, ``extension`` or ``trunk``, ``account`` the id of what it is; headers
    are of the INVITE.
    """

    channel: dict[str, Any]
    dialled: str
    source: str
    account: str
    from_header: str
    asserted: str
    privacy: str


class Balances(Protocol):
    """Who can pay (``billing.BalanceDirectory``)."""

    def exhausted(self, account_id: UUID | None) -> bool: ...


class Accounts(Protocol):
    """Who admits callers that have an account: phones and trunks (``phones.arrivals``)."""

    def admit(self, arrival: Arrival) -> Call | Refusal: ...


class Inbound:
    """Admits incoming channels (``calls.switchboard.Arrivals``). Looks only into memory."""

    def __init__(
        self,
        numbers: NumberDirectory,
        customers: CustomerDirectory,
        balances: Balances,
        overloaded: Callable[[], bool],
        accounts: Accounts | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._numbers = numbers
        self._overloaded = overloaded
        self._customers = customers
        self._balances = balances
        self._accounts = accounts
        self._limits = limits
        self.draining = False
        self.unpaid: Callable[[Call], bool] = lambda _: False
        """Whether a call cannot be paid that would be let in otherwise (``charging``)."""

    def admit(self, channel: dict[str, Any], args: list[str]) -> Call | Cause:
        """A call to run, else the cause to refuse it with.

        ``args`` come from Asterisk's dialplan: dialled user, kind of source, its id, and URL-encoded From,
        P-Asserted-Identity, Privacy.
        """
        values = [*args[:_PLAIN], *map(_decoded, args[_PLAIN:]), *[""] * (_ARGUMENTS - len(args))]
        arrival = Arrival(channel, *values[:_ARGUMENTS])
        admitted: Call | Refusal
        if self.draining:
            admitted = Refusal("draining", Cause.NORMAL_CIRCUIT_CONGESTION)
        elif self._overloaded():
            admitted = Refusal("overloaded", Cause.NORMAL_CIRCUIT_CONGESTION)
        elif self._accounts is not None and arrival.source in ACCOUNTS:
            admitted = self._accounts.admit(arrival)
        else:
            admitted = self._to_number(arrival)
        if isinstance(admitted, Call):
            if arrival.source in ACCOUNTS:
                admitted.account_id = UUID(arrival.account)
            refused = self._limits and self._limits.refusal(admitted.customer_id, admitted.account_id)
            if refused:
                admitted = Refusal(refused, Cause.NORMAL_CIRCUIT_CONGESTION)
            elif self.unpaid(admitted):
                admitted = BROKE
            else:
                return admitted
        metrics.calls_refused.labels(admitted.reason).inc()
        # whoever runs this must know that somebody called for help here
        say = log.warning if admitted.reason == "emergency_number" else log.info
        say(
            "call_refused",
            reason=admitted.reason,
            dialled=arrival.dialled[:40],
            source=arrival.source[:20],
            account=arrival.account[:36],
        )
        return admitted.cause

    def _to_number(self, arrival: Arrival) -> Call | Refusal:
        """From the telephone network, or between numbers inside: for a number that has a flow."""
        number = self._number(arrival)
        if number is None:
            return Refusal("unknown_number", Cause.UNALLOCATED)
        refusal = self._refusal(number)
        if refusal is not None:
            return refusal
        return incoming(number, arrival)

    def _number(self, arrival: Arrival) -> Number | None:
        """What was dialled; from outside also in the form of its country, and never what exists only inside."""
        number = self._numbers.by_number(arrival.dialled)
        if arrival.source == "internal":
            return number
        if number is None and arrival.dialled.isdigit() and arrival.dialled.isascii():
            number = self._numbers.by_national(arrival.dialled)
        return None if number is None or number.type != "normal" else number

    def _refusal(self, number: Number) -> Refusal | None:
        match number.status:
            case "active":
                pass
            case "suspended":
                return Refusal("number_suspended", Cause.NO_ANSWER)
            case _:
                # not bought yet, or given back: nobody's
                return Refusal("number_not_active", Cause.UNALLOCATED)
        if number.call_flow_id in (None, ZERO):
            return Refusal("no_flow", Cause.NO_ANSWER)
        customer = self._customers.by_id(number.customer_id)
        if customer is None or customer.status != "active":
            return Refusal("customer_not_active", Cause.NORMAL_CIRCUIT_CONGESTION)
        if self._balances.exhausted(customer.billing_account_id):
            return BROKE
        return None


def _decoded(value: str) -> str:
    """A header as Kamailio encodes it. SIP is UTF-8 (RFC 3261 section 7.3.1); older switches send Latin-1."""
    found = unquote_to_bytes(value.replace("+", " "))
    try:
        text = found.decode()
    except UnicodeDecodeError:
        text = found.decode("latin-1")
    return _CONTROL.sub("", text)


def incoming(number: Number, arrival: Arrival) -> Call:
    """The call of a caller who is let in to a number; its flow begins while it rings."""
    who = identity.caller(arrival.from_header, arrival.asserted, arrival.privacy)
    caller = e164.from_network(who.number)
    return Call(
        id=uuid4(),
        customer_id=number.customer_id,
        direction=Direction.INCOMING,
        source=Address(type="tel", target=caller[:255], target_name=who.display[:255]),
        destination=Address(type="tel", target=number.number),
        channel_id=arrival.channel["id"],
        status=Status.RINGING,
        flow_id=number.call_flow_id or ZERO,
        anonymous=who.anonymous,
        sip_call_id=arrival.channel.get("protocol_id", ""),
        tm_create=(now := utc_now()),
        tm_ringing=now,
    )
