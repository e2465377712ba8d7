"""The arithmetic of an account: what is promised, charged and left, against counting unit by unit."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ringline.billing.errors import InsufficientBalance
from ringline.billing.holds import share
from ringline.billing.ledger import Account, Charge, price
from ringline.billing.rates import BUILT_IN, Rate

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RATES = (
    BUILT_IN["call_pstn_outgoing"],
    BUILT_IN["call_vn"],
    BUILT_IN["call_extension"],
    BUILT_IN["sms"],
    Rate(kind="call_vn", token_per_unit=3, credit_per_unit=30_000, unit_seconds=6, minimum_units=5),
    Rate(kind="call_vn", token_per_unit=2, unit_seconds=1),
)
rates = st.sampled_from(RATES)


def counted(rate: Rate, units: int, tokens: int) -> tuple[int, int]:
    """Tokens and credit that units cost, one after the other."""
    token = credit = 0
    for _ in range(units):
        by_token = rate.token_per_unit and (tokens - token >= rate.token_per_unit or not rate.credit_per_unit)
        if by_token:
            token += rate.token_per_unit
        else:
            credit += rate.credit_per_unit
    return token, credit


def charge(rate: Rate, used: int, *, forced: bool) -> Charge:
    return Charge(
        account_id=UUID(int=1),
        customer_id=UUID(int=2),
        rate=rate,
        usage=used,
        reference_type="call",
        reference_id=uuid4(),
        idempotency_key=uuid4().hex,
        tm=NOW,
        forced=forced,
    )


class Money(RuleBasedStateMachine):
    """An account that is charged, and promises, as the ledger and the holds do it."""

    def __init__(self) -> None:
        super().__init__()
        self.account = Account(UUID(int=1), UUID(int=2), "free", 0, 0, 0, 0, None)
        self.posted: list[tuple[int, int]] = []
        self.held: list[tuple[Rate, int, int, int]] = []
        self.beyond = 0
        """Credit of units that were used and not held."""

    def _post(self, token: int, credit: int) -> None:
        self.posted.append((token, credit))
        self.account.token += token
        self.account.credit += credit

    @rule(token=st.integers(0, 20), credit=st.integers(0, 100_000))
    def top_up(self, token: int, credit: int) -> None:
        self._post(token, credit)

    @rule(rate=rates, wanted=st.integers(1, 12), least=st.integers(0, 3))
    def hold(self, rate: Rate, wanted: int, least: int) -> None:
        units, token, credit = share(self.account, rate, wanted)
        assert 0 <= units <= wanted
        assert (token, credit) == counted(rate, units, self.account.free_token)
        if units < wanted:
            more = counted(rate, units + 1, self.account.free_token)
            assert more[0] > self.account.free_token or more[1] > self.account.free_credit
        if units >= least:
            self.account.held_token += token
            self.account.held_credit += credit
            self.held.append((rate, units, token, credit))

    @rule(place=st.integers(0, 30), part=st.integers(0, 100), one_more=st.sampled_from((False, False, True)))
    def settle(self, place: int, part: int, one_more: bool) -> None:
        if not self.held:
            return
        rate, units, token, credit = self.held.pop(place % len(self.held))
        self.account.held_token -= token
        self.account.held_credit -= credit
        used = units * part // 100 * max(rate.unit_seconds, 1)
        if rate.units(used) > units:
            used = 0  # the minimum is more than was held
        if one_more and rate.credit_per_unit:
            used = max(units + 1, rate.minimum_units) * max(rate.unit_seconds, 1)
            self.beyond += (rate.units(used) - units) * rate.credit_per_unit
        entry = price(self.account, charge(rate, used, forced=True))
        assert (-entry.amount_token, -entry.amount_credit) == counted(
            rate, rate.units(used), self.account.free_token
        )
        self._post(entry.amount_token, entry.amount_credit)

    @rule(rate=rates, used=st.integers(0, 700))
    def buy(self, rate: Rate, used: int) -> None:
        before = self.account.free_token, self.account.free_credit
        try:
            entry = price(self.account, charge(rate, used, forced=False))
        except InsufficientBalance:
            token, credit = counted(rate, rate.units(used), before[0])
            assert token > max(before[0], 0) or credit > max(before[1], 0)
            return
        self._post(entry.amount_token, entry.amount_credit)
        assert self.account.free_token >= min(before[0], 0)
        assert self.account.free_credit >= min(before[1], 0)

    @invariant()
    def adds_up(self) -> None:
        account = self.account
        assert account.token == sum(token for token, _ in self.posted)
        assert account.credit == sum(credit for _, credit in self.posted)
        assert account.held_token == sum(one[2] for one in self.held)
        assert account.held_credit == sum(one[3] for one in self.held)

    @invariant()
    def is_never_below_what_was_used_unheld(self) -> None:
        assert self.account.free_token >= 0
        assert self.account.free_credit >= -self.beyond


TestMoney = pytest.mark.filterwarnings("error")(Money.TestCase)
TestMoney.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
