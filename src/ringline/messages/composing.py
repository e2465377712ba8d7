"""From what somebody wants sent to a text that may be: every field judged, errors say what would be right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast
from uuid import UUID

from ringline.billing import rates
from ringline.billing.rates import Rates
from ringline.customers import Customer
from ringline.errors import InvalidArgument, PaymentRequired, PermissionDenied
from ringline.http import utc_now
from ringline.messages import parts
from ringline.messages.records import ZERO, Draft
from ringline.messages.writing import Writer, without_duplicates
from ringline.numbers import Number, resolve_source
from ringline.numbers.source import Numbers
from ringline.sip import e164
from ringline.sip.address import Address

MAX_CHARACTERS: Final = 1600
"""As carriers have it; 11 parts of GSM-7, 24 of UCS-2."""
_UNPRINTABLE: Final = frozenset(map(chr, range(32))) - {"\n", "\r", "\t", "\f"}


class Customers(Protocol):
    """``customers.CustomerDirectory``."""

    def by_id(self, row_id: UUID) -> Customer | None: ...


class Countries(Protocol):
    """Which numbers of the telephone network a customer may reach (``outbound.Whitelist``)."""

    def check(self, customer: Customer, number: str, field: str) -> None: ...


class Balances(Protocol):
    """Who can pay for what (``billing.BalanceDirectory``)."""

    def covers(self, account_id: UUID | None, amount: int) -> bool: ...


class Composer:
    """Looks only into memory."""

    def __init__(
        self,
        customers: Customers,
        numbers: Numbers,
        writer: Writer,
        balances: Balances,
        countries: Countries | None,
        check_url: Callable[[str], object],
    ) -> None:
        self._customers = customers
        self._numbers = numbers
        self._writer = writer
        self._balances = balances
        self._countries = countries
        self._check_url = check_url
        self.rates = Rates()
        """What a part of a text costs (``billing.RateBook``)."""

    def draft(
        self,
        customer_id: UUID,
        message_id: UUID,
        *,
        source: Address,
        destinations: Sequence[Address],
        text: str,
        media: Sequence[str] = (),
        kind: str = "",
        activeflow_id: UUID = ZERO,
        hops: int = 0,
    ) -> Draft:
        """Raises ``InvalidArgument`` naming the field, ``PermissionDenied``, ``PaymentRequired``."""
        customer = self._customer(customer_id)
        self._check_text(text, media, kind)
        wanted = self._checked(customer, destinations)
        number = self._source(customer, source, wanted)
        for index, address in enumerate(destinations):
            if address.target == number.number:
                raise _fault(f"destinations[{index}]", f"{number.number} is the source itself")
        self._charge(customer, text, wanted)
        given = source if source.target == number.number else Address(type="tel")
        return Draft(
            id=message_id,
            customer_id=customer_id,
            source=number,
            shown=given.model_copy(update={"type": "tel", "target": number.number}),
            destinations=wanted,
            text=text,
            media=tuple(media),
            activeflow_id=activeflow_id,
            hops=hops,
        )

    def _customer(self, customer_id: UUID) -> Customer:
        customer = self._customers.by_id(customer_id)
        if customer is None or customer.status != "active":
            frozen = customer is not None and customer.status == "frozen"
            raise PermissionDenied(
                "The customer is not active; no messages can be sent.",
                reason="ACCOUNT_FROZEN" if frozen else "PERMISSION_DENIED",
            )
        return customer

    def _check_text(self, text: str, media: Sequence[str], kind: str) -> None:
        if len(text) > MAX_CHARACTERS:
            took = parts.count(text)
            raise _fault(
                "text",
                f"has {len(text)} characters ({took.number} parts in {took.encoding}); at most {MAX_CHARACTERS} can"
                " be sent in one message",
            )
        if any(character in _UNPRINTABLE for character in text):
            raise _fault("text", "holds control characters; of those only line breaks and tabs can be sent")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise _fault("text", "holds half of a surrogate pair, which is no character")
        if media and kind == "sms":
            raise _fault("media", "an `sms` has none; leave `type` out or make it `mms`")
        if kind == "mms" and not media:
            raise _fault("media", "an `mms` needs at least one URL")
        if not media and not text.strip():
            raise _fault("text", "is empty; a message needs a text or media")
        for index, url in enumerate(media):
            try:
                self._check_url(url)
            except InvalidArgument as error:
                raise _fault(f"media[{index}]", error.message) from None

    def _checked(self, customer: Customer, destinations: Sequence[Address]) -> list[Address]:
        if not destinations:
            raise _fault("destinations", "needs at least one")
        for index, address in enumerate(destinations):
            field = f"destinations[{index}]"
            if address.type not in ("tel", ""):
                raise _fault(f"{field}.type", f"texts go to `tel` addresses, not to `{address.type}`")
            _check_number(address.target, f"{field}.target")
            outside = self._writer.inside(address.target) is None and not e164.is_virtual(address.target)
            if outside and self._countries is not None:
                self._countries.check(customer, address.target, f"{field}.target")
        named = [address.model_copy(update={"type": "tel"}) for address in destinations]
        return without_duplicates(named)

    def _source(self, customer: Customer, given: Address, destinations: Sequence[Address]) -> Number:
        if given.type not in ("tel", ""):
            raise _fault("source.type", f"texts come from `tel` addresses, not from `{given.type}`")
        number = self._numbers.owned(customer.id, given.target)
        virtual = number is not None and number.type == "virtual" and number.status == "active"
        if virtual and all(self._writer.inside(address.target) is not None for address in destinations):
            # the telephone network does not know it, this installation does
            return cast("Number", number)
        resolved = resolve_source(self._numbers, customer, given.target)
        if resolved.number is None:
            raise InvalidArgument(resolved.problem, details=list(resolved.details))
        return resolved.number

    def _charge(self, customer: Customer, text: str, destinations: Sequence[Address]) -> None:
        """Before anything is stored; the charge itself is made with the message."""
        now, took, price = utc_now(), parts.count(text).number, 0
        for address in destinations:
            if self._writer.inside(address.target) is None:
                rate = self.rates.find("sms", address.target, now)
                # tokens are seen to by the ledger
                price += 0 if rate.token_per_unit else rate.price(rate.units(took), 0)[1]
        if not self._balances.covers(customer.billing_account_id, price):
            raise PaymentRequired(
                f"The message costs {price / rates.DOLLAR:.3f} US dollars, and the balance does not pay for it; GET"
                " /v1.0/billing_account shows it.",
                details=[{"needed_credit": price}],
            )


def _check_number(number: str, field: str) -> None:
    try:
        e164.check(number, field)
    except InvalidArgument as error:
        raise InvalidArgument(
            error.message, details=error.details or [{"field": field, "message": error.message}]
        ) from None


def _fault(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(f"`{field}`: {message}.", details=[{"field": field, "message": message}])
