"""Which number a leg to the telephone network shows (``decisions.md`` section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from ringline.numbers.directory import Number

_SHOWN = 40


class Numbers(Protocol):
    """The lookups that are needed; ``NumberDirectory`` has them."""

    def by_id(self, row_id: UUID) -> Number | None: ...

    def owned(self, customer_id: UUID, number: str) -> Number | None: ...


class Owner(Protocol):
    """The customer that dials."""

    @property
    def id(self) -> UUID: ...

    @property
    def default_outgoing_source_number_id(self) -> UUID | None: ...


@dataclass(frozen=True, slots=True)
class ResolvedSource:
    """The number to show. Without one, ``problem`` says why, for a 400; a flow's leg goes out anonymous then."""

    number: Number | None
    chosen: Literal["given", "default", "none"]
    problem: str = ""

    @property
    def details(self) -> list[dict[str, str]]:
        """The fault for an error's ``details``."""
        return [{"field": "source.target", "message": self.problem}] if self.problem else []


def resolve_source(directory: Numbers, customer: Owner, given: str) -> ResolvedSource:
    """The given source if it may be used, else the customer's default number, else none.

    A number may be used that the customer owns, that is normal (not virtual) and active.
    """
    number = directory.owned(customer.id, given)
    problem = _problem_of(number, given)
    if problem is None:
        return ResolvedSource(number, "given")
    default_id = customer.default_outgoing_source_number_id
    if default_id is None:
        advice = "and no default outgoing number is set"
    else:
        default = _owned_by_id(directory, customer.id, default_id)
        unusable = unusable_reason(default)
        if unusable is None:
            return ResolvedSource(default, "default")
        advice = f"and the default outgoing number cannot be used either ({unusable})"
    return ResolvedSource(
        None,
        "none",
        f"{problem}, {advice}. Use one of your normal, active numbers (GET /v1.0/numbers) as source, or set a "
        "default with PUT /v1.0/customer (default_outgoing_source_number_id).",
    )


def source_problem(directory: Numbers, customer_id: UUID, number_id: UUID) -> str | None:
    """What forbids a number as default source, as a sentence; ``None`` when nothing does."""
    unusable = unusable_reason(_owned_by_id(directory, customer_id, number_id))
    if unusable is None:
        return None
    return (
        f"{unusable}; it must be the id of one of your normal, active numbers (GET /v1.0/numbers), or "
        "00000000-0000-0000-0000-000000000000 for none."
    )


def unusable_reason(number: Number | None) -> str | None:
    """Why a number cannot be the source of a leg to the telephone network."""
    if number is None:
        return "it is not one of your numbers"
    if number.type != "normal":
        return f"{number.number} is a {number.type} number, which the telephone network does not know"
    if number.status != "active":
        return f"{number.number} is not active but {number.status}"
    return None


def _owned_by_id(directory: Numbers, customer_id: UUID, number_id: UUID) -> Number | None:
    number = directory.by_id(number_id)
    return number if number is not None and number.customer_id == customer_id else None


def _problem_of(number: Number | None, given: str) -> str | None:
    if number is not None:
        reason = unusable_reason(number)
        return None if reason is None else f"The source cannot be used: {reason}"
    if not given:
        return "No source number is given"
    shown = given if len(given) <= _SHOWN else given[:_SHOWN] + "..."
    return f"The source number '{shown}' is not one of yours"
