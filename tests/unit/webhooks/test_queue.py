"""What may leave for one endpoint: lanes, what holds them up, and the circuit."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from ringline.webhooks.deliveries.circuit import FAILURES, FEW, LAST_PAUSE, MANY, Circuit
from ringline.webhooks.deliveries.queue import PIECE, WINDOW, Budget, Delivery, Endpoint, Queue

TM = datetime(2026, 1, 1, tzinfo=UTC)
A, B = UUID(int=1), UUID(int=2)


def queue() -> Queue:
    return Queue(Endpoint(uuid4(), uuid4(), "http://127.0.0.1/", "POST", b"secret"), Budget())


def delivery(published: int, resource_id: UUID, due: float = 0.0) -> Delivery:
    return Delivery(uuid4(), published, resource_id, str(published), b"{}", 0, TM, TM, due)


def taken(one: Queue, now: float) -> list[Delivery]:
    found = []
    while (next_one := one.take(now)) is not None:
        found.append(next_one)
    return found


def test_one_at_a_time_of_each_resource() -> None:
    one = queue()
    for number, resource in enumerate((A, A, B, A), 1):
        one.add(delivery(number, resource), 0)
    first, other = taken(one, 0)
    assert (first.published, other.published, one.running) == (1, 3, 2)
    one.delivered(first, 0)
    [second] = taken(one, 0)
    assert second.published == 2 and one.cursor == 4


def test_a_lane_that_is_held_up_is_read_again_when_it_is_due() -> None:
    one = queue()
    one.add(delivery(1, A), 0)
    one.add(delivery(2, A), 0)
    one.add(delivery(3, B), 0)
    first, other = taken(one, 0)
    one.failed(first, 5.0, 0)
    one.delivered(other, 0)
    one.add(delivery(4, A), 1)
    assert taken(one, 1) == [], "what came later waits, and is not kept in memory"
    assert one.next_due() == 5.0 and one.unread(4.9) == []
    assert one.unread(5.0) == [A]
    # the outcome of the first attempt is not written yet: it would be taken for done
    one.read([A], [delivery(1, A), delivery(2, A), delivery(4, A)], 5.0)
    assert taken(one, 5.0) == [] and one.unread(5.5) == [A]
    one.written(first)
    one.read([A], [delivery(1, A, 0.0), delivery(2, A), delivery(4, A)], 5.5)
    for number in (1, 2, 4):
        [next_one] = taken(one, 6)
        assert next_one.published == number
        one.delivered(next_one, 6)
        one.written(next_one)
    one.written(other)
    one.more = False
    assert one.idle


def test_what_is_not_due_when_it_is_read_holds_its_lane_up() -> None:
    one = queue()
    one.add(delivery(1, A, due=7.0), 0)
    one.add(delivery(2, A), 0)
    one.add(delivery(3, B), 0)
    assert [found.published for found in taken(one, 0)] == [3]
    assert one.next_due() == 7.0


def test_what_waits_again_comes_before_what_is_newer() -> None:
    one = queue()
    for number in (5, 6, 7):
        one.add(delivery(number, A), 0)
    [first] = taken(one, 0)
    one.again(0)
    assert one.cursor == 0
    one.add(delivery(2, A), 0)
    one.add(delivery(6, A), 0)
    one.delivered(first, 0)
    order = []
    while found := taken(one, 0):
        order.append(found[0].published)
        one.delivered(found[0], 0)
    assert order == [2, 6, 7]


def test_a_long_lane_is_read_piece_by_piece() -> None:
    one = queue()
    one.add(delivery(1, A), 0)
    [first] = taken(one, 0)
    one.failed(first, 1.0, 0)
    one.written(first)
    assert one.unread(1.0) == [A]
    one.read([A], [delivery(number, A) for number in range(1, PIECE + 1)], 1.0)
    one.add(delivery(PIECE + 2, A), 1.0)
    for number in range(1, PIECE + 1):
        [found] = taken(one, 1.0)
        assert found.published == number
        one.delivered(found, 1.0)
        one.written(found)
    assert one.unread(1.0) == [A], "what came behind the piece was left in the database"
    one.read([A], [delivery(PIECE + 1, A), delivery(PIECE + 2, A)], 1.0)
    assert [found.published for found in taken(one, 1.0)] == [PIECE + 1]


def test_room_ends() -> None:
    one = queue()
    assert one.room == WINDOW
    for number in range(WINDOW):
        one.add(delivery(number, UUID(int=number)), 0)
    assert one.room == 0
    found = taken(one, 0)
    assert len(found) == FEW, "few until something has arrived"
    one.delivered(found[0], 0)
    assert len(taken(one, 0)) == MANY - FEW + 1
    assert one.room == 0, "what is not written yet counts"
    one.written(found[0])
    assert one.room == 1


def test_a_circuit_opens_after_failures_of_several_resources_only() -> None:
    circuit = Circuit()
    for _ in range(5 * FAILURES):
        circuit.failed(A, 0)
        circuit.failed(B, 0)
    assert not circuit.open, "a resource or two may be the trouble"
    circuit.failed(UUID(int=3), 0)
    assert circuit.open and circuit.places == 1
    assert not circuit.may_send(0, 3.0) and circuit.may_send(0, 6.5) and not circuit.may_send(1, 6.5)
    now = 0.0
    for _ in range(20):
        now = circuit.closed_until
        circuit.failed(A, now)
        assert circuit.closed_until - now <= LAST_PAUSE * 1.2
    assert circuit.closed_until - now >= LAST_PAUSE * 0.8
    assert circuit.succeeded() and not circuit.open and circuit.places == MANY


def test_when_an_endpoint_is_back_all_lanes_go_on() -> None:
    one = queue()
    for number in range(1, 31):
        one.add(delivery(number, UUID(int=number)), 0)
    failed = 0
    while not one.circuit.open:
        for found in taken(one, 0):
            one.failed(found, 1000.0, 0)
            one.written(found)
            failed += 1
    assert taken(one, 0) == []
    now = one.next_due()
    assert now is not None and now < 10, "a probe, long before the lanes are due"
    [probe] = taken(one, now)
    one.delivered(probe, now)
    lanes = one.unread(now)
    assert len(lanes) > failed - 1 - PIECE
    while going := taken(one, now):
        for found in going:
            one.delivered(found, now)
    one.read(lanes, [delivery(lane.int, lane, due=1000.0) for lane in lanes], now)
    assert len(taken(one, now)) == len(lanes), "also those whose own pause is longer"


def test_what_is_sent_again_while_the_queue_is_read_is_read_next() -> None:
    one = queue()
    one.begin_reading()
    one.again(0)
    one.add(delivery(7, A), 0)
    assert one.cursor == 7
    one.end_reading()
    assert one.cursor == 0 and one.more
    one.begin_reading()
    one.add(delivery(2, B), 0)
    one.add(delivery(7, A), 0)
    one.end_reading()
    assert sorted(found.published for found in taken(one, 0)) == [2, 7] and one.cursor == 7


def test_what_is_written_while_it_is_read_is_not_sent_twice() -> None:
    one = queue()
    one.add(delivery(1, A), 0)
    [first] = taken(one, 0)
    one.again(0)
    one.begin_reading()
    one.delivered(first, 0)
    one.written(first)
    one.add(delivery(1, A), 0)
    one.add(delivery(2, A), 0)
    one.end_reading()
    assert [found.published for found in taken(one, 0)] == [2]


def test_what_is_sent_again_is_sent_now_also_where_nothing_arrives() -> None:
    one = queue()
    now = _down(one)
    assert one.take(now) is None
    one.again(now)
    assert len(taken(one, now)) == 1, "a probe"


def test_another_address_begins_anew() -> None:
    one = queue()
    now = _down(one)
    one.moved(Endpoint(uuid4(), uuid4(), "http://127.0.0.2/", "POST", b"secret"), now)
    assert not one.circuit.open and one.endpoint.uri == "http://127.0.0.2/"
    lanes = one.unread(now)
    one.read(lanes, [delivery(lane.int, lane, due=1000.0) for lane in lanes], now)
    assert len(taken(one, now)) == FEW


def test_what_all_queues_hold_together_is_bounded() -> None:
    budget = Budget(100_000)
    queues = [Queue(queue().endpoint, budget) for _ in range(3)]
    for one in queues:
        for number in range(WINDOW):
            if one.room == 0:
                break
            one.add(delivery(number, UUID(int=number)), 0)
    assert [one.depth for one in queues[1:]] == [PIECE, PIECE], "each has something all the same"
    assert queues[0].depth < 200
    assert budget.spent
    queues[0].discard()
    assert not budget.spent and queues[1].room == WINDOW - PIECE
    for found in taken(queues[1], 0):
        queues[1].delivered(found, 0)
        queues[1].written(found)
    queues[1].discard()
    queues[2].discard()
    assert budget.used == 0


def _down(one: Queue) -> float:
    """Nothing arrives there; a moment long before anything is due."""
    for number in range(1, 31):
        one.add(delivery(number, UUID(int=number)), 0)
    while not one.circuit.open:
        for found in taken(one, 0):
            one.failed(found, 1000.0, 0)
            one.written(found)
    return 0.5


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=60), st.integers(0, 2**32))
def test_order_is_kept_whatever_fails_and_whenever_it_is_written(
    rows: list[tuple[int, bool]], seed: int
) -> None:
    """A model of the worker: reads in pieces, failures, and outcomes written late."""
    pick = random.Random(seed)
    stored: dict[int, tuple[UUID, float]] = {
        number: (UUID(int=resource), 0.0) for number, (resource, _) in enumerate(rows, 1)
    }
    failing = {number for number, (_, fails) in enumerate(rows, 1) if fails}
    one, now, arrived = queue(), 0.0, []
    unwritten: list[tuple[Delivery, float | None]] = []
    under_way: list[Delivery] = []

    def rows_of(wanted: UUID | None, behind: int) -> list[Delivery]:
        return [
            delivery(number, resource, due)
            for number, (resource, due) in sorted(stored.items())
            if number > behind and wanted in (None, resource)
        ]

    read: tuple[list[UUID], list[Delivery], list[Delivery]] | None = None
    for _ in range(4000):
        if not stored and not under_way and not unwritten:
            break
        step = pick.randrange(4)
        if step == 0 and read is None:
            # what is read is as it was then, whatever happens until it comes
            one.begin_reading()
            behind = rows_of(None, one.cursor)[: min(pick.randrange(1, 9), one.room)]
            lanes = one.unread(now)
            read = lanes, behind, [found for lane in lanes for found in rows_of(lane, 0)[:PIECE]]
        elif step == 1 and read is not None:
            lanes, behind, in_lanes = read
            for found in behind:
                one.add(found, now)
            one.read(lanes, in_lanes, now)
            one.end_reading()
            read = None
        elif step == 2 and unwritten:
            found, due = unwritten.pop(pick.randrange(len(unwritten)))
            if due is None:
                del stored[found.published]
            else:
                stored[found.published] = (found.resource_id, due)
            one.written(found)
        else:
            under_way += taken(one, now)
            if under_way:
                found = under_way.pop(pick.randrange(len(under_way)))
                if found.published in failing:
                    failing.discard(found.published)
                    one.failed(found, now + 2, now)
                    unwritten.append((found, now + 2))
                else:
                    arrived.append(found)
                    one.delivered(found, now)
                    unwritten.append((found, None))
        now += 0.3
    assert not stored
    for resource in {found.resource_id for found in arrived}:
        numbers = [found.published for found in arrived if found.resource_id == resource]
        assert numbers == sorted(set(numbers))
    assert len(arrived) == len(rows)
