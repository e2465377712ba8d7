"""Who may begin, how long a call may last, and what of it is charged: every race, by a fake clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from ringline.billing.errors import InsufficientBalance
from ringline.billing.rates import Rate
from ringline.calls.call import ZERO, Call
from ringline.calls.states import Direction, HangupReason, Status
from ringline.charging import kinds
from ringline.sip.address import Address

from .till import MINUTES, NOW, SECONDS, Till

TEL = Address(type="tel", target="+15559876543")
VIRTUAL = Address(type="tel", target="+899100000001")
PHONE = Address(type="extension", target="test11")
FLOW = uuid4()


@pytest.mark.parametrize(
    ("direction", "source", "destination", "more", "cost_type", "onward"),
    [
        ("outgoing", TEL, TEL, {}, "call_pstn_outgoing", "call_extension"),
        ("outgoing", TEL, VIRTUAL, {}, "call_extension", "call_extension"),
        ("outgoing", TEL, PHONE, {}, "call_extension", "call_extension"),
        (
            "outgoing",
            TEL,
            Address(type="sip", target="bob@example.test"),
            {},
            "call_extension",
            "call_extension",
        ),
        ("incoming", TEL, TEL, {"flow_id": FLOW}, "call_pstn_incoming", "call_extension"),
        ("incoming", TEL, VIRTUAL, {"flow_id": FLOW}, "call_vn", "call_extension"),
        ("incoming", PHONE, TEL, {"account_id": uuid4()}, "call_extension", "call_pstn_outgoing"),
        ("incoming", TEL, TEL, {"account_id": uuid4()}, "call_extension", "call_pstn_outgoing"),
        (
            "incoming",
            PHONE,
            TEL,
            {"account_id": uuid4(), "flow_id": FLOW},
            "call_extension",
            "call_extension",
        ),
        ("incoming", PHONE, VIRTUAL, {"account_id": uuid4(), "flow_id": FLOW}, "call_vn", "call_extension"),
        ("incoming", PHONE, VIRTUAL, {"account_id": uuid4()}, "call_extension", "call_extension"),
        ("incoming", PHONE, PHONE, {"account_id": uuid4()}, "call_extension", "call_extension"),
        ("incoming", Address(type="sip", target="x@y.test"), PHONE, {}, "call_direct_ext", "call_extension"),
    ],
)
def test_what_a_call_is_charged_as(
    direction: str, source: Address, destination: Address, more: dict[str, Any], cost_type: str, onward: str
) -> None:
    row = {"direction": Direction(direction), "source": source, "destination": destination, "flow_id": ZERO}
    call = Till(0).call(**row | more)
    assert kinds.of(call).cost_type == cost_type
    assert kinds.onward(call).cost_type == onward


def test_a_call_is_held_extended_and_charged_for_what_it_used() -> None:
    till = Till(60_000, MINUTES)
    call = till.begins()
    assert till.asked[call.id] == 1
    till.writes(call)
    till.time.pass_to(7)
    till.answers(call)
    till.time.pass_to(56)
    assert call.id not in till.asked
    till.time.pass_to(57)
    assert till.asked[call.id] == 2, "ten seconds before the first minute is over"
    till.writes(call)
    till.time.pass_to(118)
    assert till.asked[call.id] == 3
    till.time.pass_to(119.3)
    till.hangs_up(call)
    assert till.forgotten == [call.id]
    cdr = till.meters.cdr(call)
    assert (cdr["billsec"], cdr["billable_units"], cdr["duration"]) == (113, 2, 120)
    assert (cdr["cost_type"], cdr["rate_credit"], cdr["tm_settle"]) == ("call_pstn_outgoing", 6_000, None)
    assert not till.warned and len(till.meters) == 0


def test_a_call_whose_money_runs_out_ends_at_that_moment_after_a_tone() -> None:
    till = Till(550, SECONDS)
    call = till.begins()
    assert till.asked[call.id] == 5, "as much as there is"
    till.writes(call)
    till.time.pass_to(3)
    till.answers(call)
    till.time.pass_to(30)
    assert till.ended == {call.id: 8.0}
    assert till.warned == [(call.id, 6.0)]
    assert (call.hangup_reason, call.hangup_detail) == (HangupReason.TIMEOUT, "the balance was used up")
    assert till.units(call) == 5


def test_what_we_ended_for_money_is_not_charged_for_the_moment_that_took() -> None:
    till = Till(550, SECONDS)
    call = till.begins()
    till.writes(call)
    till.answers(call)
    call.end_cause = None
    # the channel ends 1.4 s after it was asked to
    till.hang_up = lambda call, cause=16: True  # type: ignore[method-assign,assignment]
    till.time.pass_to(6.4)
    till.hangs_up(call)
    assert till.meters.cdr(call)["billsec"] == 7
    assert till.units(call) == 5


@pytest.mark.parametrize("when", [5.0, 7.5])
def test_who_pays_in_the_last_moment_goes_on(when: float) -> None:
    till = Till(800, SECONDS)
    call = till.answers(till.begins())
    till.writes(call)
    till.time.pass_to(when)
    till.balance = replace(till.balance, credit=1_000_000)
    till.time.pass_to(30)
    assert not till.ended
    assert len(till.warned) == (when > 6)
    till.time.pass_to(300)
    assert not till.ended, "and is extended as any other"


def test_two_calls_do_not_begin_with_the_money_of_one() -> None:
    till = Till(9_000, MINUTES)
    first, second = till.call(), till.call()
    assert till.meters.begun(first) == ""
    assert "INSUFFICIENT_BALANCE" in till.meters.begun(second)
    # nor when the database has it and the mirror shows it
    till.writes(first)
    assert "INSUFFICIENT_BALANCE" in till.meters.begun(till.call())
    till.hangs_up(first)
    third = till.call()
    assert till.meters.begun(third) == "", "what an unanswered call did not use comes back at once"
    assert "INSUFFICIENT_BALANCE" in till.meters.begun(till.call())


def test_a_request_reserves_what_its_calls_take() -> None:
    till = Till(18_000, MINUTES)
    with till.meters.reserve(till.customer_id, [TEL, TEL, PHONE]):
        with pytest.raises(InsufficientBalance) as refused, till.meters.reserve(till.customer_id, [TEL, TEL]):
            pass
        assert refused.value.details[0]["needed_credit"] == 12_000
        assert "$0.012" in refused.value.message and "To begin 2 calls" in refused.value.message
        incoming = till.call(direction=Direction.INCOMING, status=Status.RINGING, flow_id=FLOW)
        assert not till.meters.refuses(incoming), "there is enough for one that costs 0.0045"
        # its own calls begin within
        for _ in range(2):
            till.begins()
    till.begins()
    with pytest.raises(InsufficientBalance):
        till.meters.check(till.customer_id, [TEL])
    till.meters.check(till.customer_id, [PHONE, VIRTUAL])


def test_the_database_has_the_last_word() -> None:
    till = Till(60_000, MINUTES)
    # another process was faster: nothing at all is left
    ringing = till.begins()
    ringing.advance(Status.RINGING, till.time.now())
    till.writes(ringing, 0, seen=False)
    assert till.ended == {ringing.id: 0.0}
    assert ringing.hangup_detail.startswith("INSUFFICIENT_BALANCE")
    assert till.units(ringing) == 0
    # a hold is answered after the call was: it ends there and then
    talking = till.answers(till.begins())
    till.time.pass_to(1)
    till.writes(talking, 0, seen=False)
    assert till.ended[talking.id] == 1.0
    # the first minute was held, the second is not
    third = till.answers(till.begins())
    till.writes(third, 1, seen=False)
    till.time.pass_to(51)
    assert till.asked[third.id] == 2
    till.writes(third, 1, seen=False)
    till.balance = replace(till.balance, credit=0)
    till.time.pass_to(100)
    assert till.ended[third.id] == 61.0
    assert till.units(third) == 1


def test_a_hang_up_while_the_hold_is_under_way() -> None:
    till = Till(60_000, MINUTES)
    call = till.begins()
    till.time.pass_to(0.05)
    till.hangs_up(call)
    till.meters.held(call.id, 1)
    assert not till.ended and len(till.meters) == 0
    assert till.purses.affordable(till.account_id, MINUTES) == 10


def test_without_a_database_calls_go_on_as_far_as_the_known_money_reaches() -> None:
    till = Till(20_000, MINUTES)
    call = till.answers(till.begins())
    till.time.pass_to(110)
    assert till.asked[call.id] == 3, "nothing was confirmed, and it goes on"
    till.time.pass_to(400)
    assert till.ended == {call.id: 180.0}
    assert till.units(call) == 3


def test_tokens_come_before_credit_and_both_bound_the_call() -> None:
    virtual = Rate(kind="call_vn", credit_per_unit=1_000, token_per_unit=1, unit_seconds=60)
    till = Till(1_500, virtual, token=1)
    call = till.call(direction=Direction.INCOMING, destination=VIRTUAL, status=Status.RINGING, flow_id=FLOW)
    assert till.meters.begun(call) == ""
    till.answers(call)
    till.time.pass_to(600)
    assert till.ended == {call.id: 120.0}, "one minute by token, one by credit"


def test_an_unlimited_plan_is_recorded_and_held_for_nothing() -> None:
    till = Till(0, MINUTES, plan="unlimited")
    call = till.answers(till.begins())
    till.time.pass_to(4000)
    till.hangs_up(call)
    assert not till.asked and not till.ended
    cdr = till.meters.cdr(call)
    assert (cdr["billable_units"], cdr["tm_settle"], cdr["billing_account_id"]) == (67, None, till.account_id)


def test_what_is_free_and_who_has_no_account_make_no_hold() -> None:
    till = Till(0, MINUTES)
    inside = till.answers(till.begins(destination=PHONE))
    till.time.pass_to(10)
    till.hangs_up(inside)
    assert till.meters.cdr(inside)["tm_settle"] == inside.tm_hangup
    stranger = till.begins(customer_id=uuid4())
    till.hangs_up(stranger)
    assert till.meters.cdr(stranger)["billing_account_id"] == ZERO
    assert not till.asked


def test_callers_and_phones_are_refused_by_what_their_call_would_cost() -> None:
    incoming = Rate(kind="call_pstn_incoming", credit_per_unit=4_500, unit_seconds=60)
    till = Till(5_000, MINUTES, incoming)
    caller = till.call(direction=Direction.INCOMING, status=Status.RINGING, flow_id=FLOW)
    assert not till.meters.refuses(caller)
    account: dict[str, Any] = {
        "direction": Direction.INCOMING,
        "status": Status.RINGING,
        "account_id": uuid4(),
    }
    assert till.meters.refuses(till.call(source=PHONE, **account)), "the leg that it leads to costs 0.006"
    assert not till.meters.refuses(till.call(source=PHONE, destination=PHONE, **account))
    till.balance = replace(till.balance, credit=4_499)
    assert till.meters.refuses(caller)


def test_a_rate_for_the_whole_call() -> None:
    once = Rate(kind="call_pstn_outgoing", credit_per_unit=50_000)
    till = Till(50_000, once)
    call = till.answers(till.begins())
    till.time.pass_to(3000)
    assert not till.ended
    till.hangs_up(call)
    assert till.units(call) == 1
    unanswered = Till(50_000, once)
    busy = unanswered.begins()
    unanswered.hangs_up(busy, 17)
    assert unanswered.units(busy) == 0


# after a crash


def restored(till: Till, answered_ago: float, held: int) -> Call:
    call = till.call(tm_create=NOW - timedelta(seconds=answered_ago + 2), status=Status.PROGRESSING)
    call.tm_progressing = NOW - timedelta(seconds=answered_ago)
    till.meters.restore([call], {call.id: held} if held else {})
    return call


def test_a_successor_goes_on_with_what_was_held() -> None:
    till = Till(60_000, MINUTES)
    call = restored(till, 20, 1)
    till.time.pass_to(29.9)
    assert not till.asked
    till.time.pass_to(30)
    assert till.asked == {call.id: 2}


def test_a_successor_leaves_a_call_to_the_account_that_it_began_with() -> None:
    till = Till(60_000, MINUTES)
    former = uuid4()
    call = till.call(tm_create=NOW - timedelta(seconds=22), status=Status.PROGRESSING)
    call.tm_progressing = NOW - timedelta(seconds=20)
    till.meters.restore([call], {call.id: 1}, {call.id: former})
    till.time.pass_to(30)
    assert till.asked == {call.id: 2}
    call.end(16, till.time.now())
    till.meters.call_ended(call)
    assert till.meters.cdr(call)["billing_account_id"] == former


def test_a_successor_that_comes_late_catches_up() -> None:
    till = Till(60_000, MINUTES)
    call = restored(till, 130, 1)
    till.time.pass_to(0)
    assert till.asked == {call.id: 4}, "three minutes are begun, and one more is promised"
    till.time.pass_to(40)
    assert not till.ended


def test_a_successor_ends_what_cannot_be_paid_any_more() -> None:
    till = Till(0, MINUTES)
    call = restored(till, 70, 1)
    till.time.pass_to(0)
    assert till.ended == {call.id: 0.0}
    assert till.units(call) == 1


def test_a_hold_that_was_never_written_is_made_again() -> None:
    till = Till(60_000, MINUTES)
    call = restored(till, 5, 0)
    assert till.asked == {call.id: 2}


def test_what_nobody_saw_end_is_bounded_by_its_hold() -> None:
    till = Till(60_000, MINUTES)
    call = till.call(tm_create=NOW - timedelta(seconds=500), status=Status.PROGRESSING)
    call.tm_progressing = NOW - timedelta(seconds=498)
    call.end(16, NOW)
    till.meters.call_ended(call)
    cdr = till.meters.cdr(call)
    assert (cdr["bounded"], cdr["billable_units"], cdr["tm_settle"]) == (True, 9, None)
