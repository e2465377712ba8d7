"""From a call that has ended to its record: what it used, and by which rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any
from uuid import UUID

from ringline.billing.rates import Rate

ZERO = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Fare:
    """By what a call is charged. ``account_id`` is zero where nobody is charged.

    ``most``: units that it is charged at the most, because nothing more was promised to it and we ended it for that.
    ``bounded``: nobody saw it end, so that what was held for it bounds what is charged.
    """

    account_id: UUID
    cost_type: str
    number: str
    rate: Rate
    most: int | None = None
    bounded: bool = False

    @property
    def free(self) -> bool:
        return self.account_id == ZERO or self.rate.free


def seconds_between(began: datetime | None, ended: datetime | None) -> int:
    """Whole seconds, a second that was begun counted; 0 where one of them never came."""
    if began is None or ended is None:
        return 0
    return max(0, ceil((ended - began).total_seconds()))


def units_of(rate: Rate, billsec: int) -> int:
    """Units of a call that was up for so long; where a unit is no time it is one for a call that was answered."""
    return rate.units(billsec if rate.unit_seconds else min(billsec, 1))


def row(call: Mapping[str, Any], fare: Fare) -> dict[str, Any]:
    """The record of a call that has ended, from the columns of its row. One that costs nothing is settled at once."""
    source, destination = call["source"], call["destination"]
    billsec = seconds_between(call["tm_progressing"], call["tm_hangup"])
    units = units_of(fare.rate, billsec)
    if fare.most is not None:
        units = min(units, fare.most)
    return {
        "id": call["id"],
        "customer_id": call["customer_id"],
        "billing_account_id": fare.account_id,
        "flow_id": call["flow_id"],
        "activeflow_id": call["activeflow_id"],
        "groupcall_id": call["groupcall_id"],
        "master_call_id": call["master_call_id"],
        "direction": call["direction"],
        "type": call["type"],
        "source_type": source["type"],
        "source": source["target"],
        "source_name": source["target_name"],
        "destination_type": destination["type"],
        "destination": destination["target"],
        "destination_name": destination["target_name"],
        "anonymous": call["anonymous"],
        "hangup_by": call["hangup_by"],
        "hangup_reason": call["hangup_reason"],
        "hangup_detail": call["hangup_detail"],
        "hangup_cause": call["hangup_cause"],
        "hangup_sip_code": call["hangup_sip_code"],
        "duration": seconds_between(call["tm_create"], call["tm_hangup"]),
        "billsec": billsec,
        "cost_type": fare.cost_type,
        "rate_number": fare.number,
        "rate_seconds": fare.rate.unit_seconds,
        "rate_token": fare.rate.token_per_unit,
        "rate_credit": fare.rate.credit_per_unit,
        "rate_minimum": fare.rate.minimum_units,
        "rate_rounding": fare.rate.rounding,
        "billable_units": units,
        "bounded": fare.bounded,
        "tm_create": call["tm_create"],
        "tm_ringing": call["tm_ringing"],
        "tm_progressing": call["tm_progressing"],
        "tm_hangup": call["tm_hangup"],
        "tm_settle": call["tm_hangup"] if fare.free else None,
    }


def rate_of(cdr: Any) -> Rate:
    """The rate that a record's row was made with."""
    return Rate(
        kind=cdr.cost_type,
        credit_per_unit=cdr.rate_credit,
        token_per_unit=cdr.rate_token,
        unit_seconds=cdr.rate_seconds,
        minimum_units=cdr.rate_minimum,
        rounding=cdr.rate_rounding,
    )
