"""Phones and trunks that dial: whose they are, and what becomes of the call (``calls.inbound.Accounts``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID, uuid4

from ringline.calls.call import ZERO, Call
from ringline.calls.destinations import SRTP
from ringline.calls.inbound import BROKE, Arrival, Refusal
from ringline.calls.states import Direction, Status
from ringline.customers import Customer
from ringline.errors import InvalidArgument
from ringline.extensions import Extension, Trunk
from ringline.http import utc_now
from ringline.phones.codes import CODES
from ringline.phones.dialled import Kind, read
from ringline.sip import identity
from ringline.sip.address import Address
from ringline.sip.cause import Cause
from ringline.sip.destination import is_emergency

_SECURED = (SRTP, "webrtc")
SERVICE = "sip-service"
"""The type of calls to codes, as VoIPBIN names it."""


class Extensions(Protocol):
    """``extensions.ExtensionDirectory``."""

    def by_id(self, row_id: UUID) -> Extension | None: ...

    def by_name(self, domain_name: str, extension: str) -> Extension | None: ...


class Trunks(Protocol):
    """``extensions.TrunkDirectory``."""

    def by_id(self, row_id: UUID) -> Trunk | None: ...


class Customers(Protocol):
    """``customers.CustomerDirectory``."""

    def by_id(self, row_id: UUID) -> Customer | None: ...


class Numbers(Protocol):
    """``numbers.NumberDirectory``."""

    def by_number(self, number: str) -> Any: ...


class Balances(Protocol):
    """``billing.BalanceDirectory``."""

    def exhausted(self, account_id: UUID | None) -> bool: ...


class Countries(Protocol):
    """``outbound.Whitelist``."""

    def check(self, customer: Customer, number: str, field: str) -> None:
        """Raises ``InvalidArgument`` for a number that the customer may not call."""


@dataclass(frozen=True, slots=True)
class Directories:
    """Everything in memory that a dialled number is held against."""

    extensions: Extensions
    trunks: Trunks
    customers: Customers
    numbers: Numbers
    balances: Balances
    countries: Countries


@dataclass(frozen=True, slots=True)
class Meant:
    """What a call is for. ``flow_id`` is that of a number of the customer's own; zero: a flow is made."""

    destination: Address
    type: str = "flow"
    flow_id: UUID = ZERO


class PhoneArrivals:
    """Looks only into memory. The flow of a call is made when it starts (``phones.flows``)."""

    def __init__(
        self, directories: Directories, *, sip_domain: str, country: Callable[[Customer], str]
    ) -> None:
        """``country``: where a customer is at home, ISO 3166 alpha-2."""
        self._known = directories
        self._sip_domain = sip_domain
        self._country = country

    def admit(self, arrival: Arrival) -> Call | Refusal:
        """The call of a phone or a trunk. Identities that it asserts are not believed, its wish for privacy is."""
        # what is anonymous says nothing of who it is, but the account is proven
        who = identity.caller(arrival.from_header, "", arrival.privacy)
        account = self._account(arrival)
        if isinstance(account, Refusal):
            return account
        if refused := _unfit(account, arrival):
            return refused
        customer = self._known.customers.by_id(account.customer_id)
        if customer is None or customer.status != "active":
            return Refusal("customer_not_active", Cause.NORMAL_CIRCUIT_CONGESTION)
        if self._known.balances.exhausted(customer.billing_account_id):
            return BROKE
        meant = self.meant_by(customer, arrival.dialled)
        if isinstance(meant, Refusal):
            return meant
        now = utc_now()
        return Call(
            id=uuid4(),
            customer_id=customer.id,
            direction=Direction.INCOMING,
            source=self._source(account, customer, who),
            destination=meant.destination,
            channel_id=arrival.channel["id"],
            status=Status.RINGING,
            type=meant.type,
            flow_id=meant.flow_id,
            anonymous=who.anonymous,
            account_id=account.id,
            sip_call_id=arrival.channel.get("protocol_id", ""),
            tm_create=now,
            tm_ringing=now,
        )

    def meant_by(self, customer: Customer, dialled: str) -> Meant | Refusal:
        """What a phone of a customer's means by this, as far as it may be called."""
        realm = f"{customer.domain_label}.{self._sip_domain}"
        extension = self._known.extensions.by_name(realm, dialled)
        if extension is not None and extension.customer_id == customer.id:
            # a name of digits only goes before the national format of the same spelling
            name = extension.name[:255]
            return Meant(Address(type="extension", target=extension.extension, target_name=name))
        country = self._country(customer)
        if is_emergency(dialled, country):
            return Refusal("emergency_number", Cause.UNALLOCATED)
        found = read(dialled, country)
        match found.kind:
            case Kind.CODE if found.target in CODES:
                name = CODES[found.target].name
                return Meant(Address(type="sip", target=f"{found.target}@{realm}", target_name=name), SERVICE)
            case Kind.CODE:
                return Refusal("unknown_code", Cause.UNALLOCATED)
            case Kind.VIRTUAL:
                return self._virtual(customer, found.target)
            case Kind.NUMBER:
                if (own := self._own(customer, found.target)) is not None:
                    return own
                try:
                    self._known.countries.check(customer, found.target, "destination")
                except InvalidArgument:
                    return Refusal("country_not_allowed", Cause.CALL_REJECTED)
                return Meant(Address(type="tel", target=found.target))
            case Kind.INCOMPLETE:
                return Refusal("incomplete_number", Cause.INVALID_NUMBER_FORMAT)
        return Refusal("unknown_number", Cause.UNALLOCATED)

    def _account(self, arrival: Arrival) -> Extension | Trunk | Refusal:
        found: Extension | Trunk | None = None
        if (account_id := _uuid(arrival.account)) is not None:
            known = self._known.extensions if arrival.source == "extension" else self._known.trunks
            found = known.by_id(account_id)
        return found or Refusal("unknown_account", Cause.CALL_REJECTED)

    def _source(
        self, account: Extension | Trunk, customer: Customer, who: identity.CallerIdentity
    ) -> Address:
        name = who.display[:255]
        if isinstance(account, Extension):
            return Address(type="extension", target=account.extension, target_name=name or account.name[:255])
        # a telephone system says by From which of its numbers calls; which of them may be shown is decided later
        number = read(who.number, self._country(customer))
        shown = number.target if number.kind in (Kind.NUMBER, Kind.VIRTUAL) else ""
        return Address(type="tel", target=shown, target_name=name, name=account.name[:255])

    def _own(self, customer: Customer, target: str) -> Meant | Refusal | None:
        """The customer's own normal number that has a flow: the way round by the telephone network leads there, too.

        Without a flow the number may mean something out there, so it goes out.
        """
        number = self._known.numbers.by_number(target)
        if number is None or number.customer_id != customer.id or number.call_flow_id in (None, ZERO):
            return None
        if number.status == "suspended":
            return Refusal("number_suspended", Cause.NO_ANSWER)
        if number.status != "active":
            return None
        return Meant(Address(type="tel", target=target), flow_id=number.call_flow_id)

    def _virtual(self, customer: Customer, target: str) -> Meant | Refusal:
        number = self._known.numbers.by_number(target)
        to = Address(type="tel", target=target)
        if number is None:
            return Refusal("unknown_number", Cause.UNALLOCATED)
        if number.customer_id != customer.id:
            # somebody else's flow sees a caller of its own, and this customer a call that it made
            return Meant(to)
        if number.status == "suspended":
            return Refusal("number_suspended", Cause.NO_ANSWER)
        if number.status != "active":
            return Refusal("number_not_active", Cause.UNALLOCATED)
        if number.call_flow_id in (None, ZERO):
            return Refusal("no_flow", Cause.NO_ANSWER)
        return Meant(to, flow_id=number.call_flow_id)


def _unfit(account: Extension | Trunk, arrival: Arrival) -> Refusal | None:
    """Whether the account wants its sound secured in another way than the call offers it (``sip: 488``)."""
    # the endpoint that Kamailio chose by the offer: PJSIP/srtp-0000001f
    endpoint = arrival.channel.get("name", "").partition("/")[2].rpartition("-")[0]
    secured = endpoint in _SECURED
    if account.srtp == "required" and not secured:
        return Refusal("srtp_required", Cause.BEARER_CAPABILITY_NOT_AVAILABLE)
    if account.srtp == "none" and endpoint == SRTP:
        return Refusal("srtp_not_taken", Cause.BEARER_CAPABILITY_NOT_AVAILABLE)
    return None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
