"""What accounts can promise, as far as this process knows: without a query, at once.

The mirror of accounts shows balances and what is held of them, some milliseconds late. What this process has promised
since is counted here, so that no two of its calls are begun with the same money.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from ringline.billing.directory import Balance
from ringline.billing.errors import InsufficientBalance
from ringline.billing.rates import Rate
from ringline.billing.tiers import UNLIMITED


class Accounts(Protocol):
    """The mirror of accounts (``billing.BalanceDirectory``)."""

    def by_id(self, row_id: UUID) -> Balance | None: ...


@dataclass(slots=True)
class Share:
    """Tokens and micro-US-dollars of one account."""

    account_id: UUID
    token: int = 0
    credit: int = 0


class Purses:
    """Balances less what was promised. An account that is not known here is not judged here: the database does it."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._promised: dict[UUID, Share] = {}
        self._returning: dict[UUID, Share] = {}
        self._gone: dict[UUID, list[int]] = {}
        """Tokens and credit of accounts that are promised and not yet shown as held, less what comes back."""
        self._reserved: list[Share] = []

    def unlimited(self, account_id: UUID) -> bool:
        """Whether nothing is ever held of it."""
        found = self._accounts.by_id(account_id)
        return found is not None and found.plan == UNLIMITED

    def affordable(self, account_id: UUID, rate: Rate, *, reserved: bool = True) -> int | None:
        """How many units of ``rate`` can be promised; nothing where there is no end of them.

        ``reserved``: what requests have reserved is gone.
        """
        found = self._free(account_id, reserved=reserved)
        return None if found is None else rate.affordable(*found)

    def check(self, account_id: UUID, rates: Iterable[tuple[Rate, int]], what: str) -> Share:
        """What units of these rates take together. Raises ``InsufficientBalance`` where that is not there."""
        total = Share(account_id)
        found = self._free(account_id)
        if found is None:
            return total
        free_token, free_credit = found
        for rate, units in rates:
            token, credit = rate.price(units, free_token - total.token)
            if total.token + token > max(free_token, 0):
                raise InsufficientBalance(what, total.credit + credit, free_credit)
            total.token += token
            total.credit += credit
        if total.credit > max(free_credit, 0):
            raise InsufficientBalance(what, total.credit, free_credit)
        return total

    @contextmanager
    def reserve(self, share: Share, wanted: Iterable[tuple[Rate, int]] = ()) -> Iterator[None]:
        """Nobody else is promised this meanwhile, nor the units ``wanted``, as far as there is so much."""
        found = self._free(share.account_id)
        if found is not None:
            token = credit = 0
            for rate, units in wanted:
                tokens, money = rate.price(units, found[0] - token)
                token, credit = token + tokens, credit + money
            share.token = max(share.token, min(token, found[0]))
            share.credit = max(share.credit, min(credit, found[1]))
        self._reserved.append(share)
        try:
            yield
        finally:
            self._reserved.remove(share)

    # what calls have, by their id

    def promise(self, call_id: UUID, account_id: UUID, rate: Rate, units: int) -> None:
        """``units`` more, until the database says that they are held (``held``)."""
        found = self._free(account_id, reserved=False)
        token, credit = (0, 0) if found is None else rate.price(units, found[0])
        share = self._promised.setdefault(call_id, Share(account_id))
        share.token += token
        share.credit += credit
        self._add(account_id, token, credit)

    def held(self, call_id: UUID) -> None:
        """The database has it, and the mirror shows it; or it never will."""
        share = self._promised.pop(call_id, None)
        if share is not None:
            self._add(share.account_id, -share.token, -share.credit)

    def give_back(self, call_id: UUID, share: Share) -> None:
        """The call has ended and did not use this, which the database still holds."""
        if share.token or share.credit:
            self._returning[call_id] = share
            self._add(share.account_id, -share.token, -share.credit)

    def settled(self, call_id: UUID) -> None:
        """Nothing is held for the call any more."""
        self.held(call_id)
        share = self._returning.pop(call_id, None)
        if share is not None:
            self._add(share.account_id, share.token, share.credit)

    def returning(self, account_id: UUID) -> bool:
        """Whether calls of the account have ended whose holds are not settled yet."""
        return any(share.account_id == account_id for share in self._returning.values())

    def _free(self, account_id: UUID, *, reserved: bool = True) -> tuple[int, int] | None:
        found = self._accounts.by_id(account_id)
        if found is None or found.plan == UNLIMITED:
            return None
        token, credit = found.free_token, found.free_credit
        if (gone := self._gone.get(account_id)) is not None:
            token -= gone[0]
            credit -= gone[1]
        if reserved:
            for share in self._reserved:
                if share.account_id == account_id:
                    token -= share.token
                    credit -= share.credit
        return token, credit

    def _add(self, account_id: UUID, token: int, credit: int) -> None:
        gone = self._gone.setdefault(account_id, [0, 0])
        gone[0] += token
        gone[1] += credit
        if gone == [0, 0]:
            del self._gone[account_id]
