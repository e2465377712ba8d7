"""Placing calls against a real database: what is stored, and what a repetition finds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline.calls.call import Call
from ringline.calls.caller import Anonymity
from ringline.calls.ordering import Ordering
from ringline.calls.service import CallService
from ringline.calls.tally import Tally
from ringline.customers import Identity
from ringline.errors import InvalidArgument, PermissionDenied, Unavailable
from ringline.sip.address import Address
from ringline.storage import Database

OWN = "+15551234567"
VIRTUAL = "+899100000001"


class Numbers:
    """One normal number, and a virtual one, of one customer."""

    def __init__(self, customer_id: UUID) -> None:
        self._owned = {
            number: SimpleNamespace(
                id=uuid4(), customer_id=customer_id, number=number, type=kind, status="active"
            )
            for number, kind in ((OWN, "normal"), (VIRTUAL, "virtual"))
        }

    def by_id(self, row_id: UUID) -> Any:
        return None

    def owned(self, customer_id: UUID, number: str) -> Any:
        return self._owned.get(number)


class Board:
    """A switchboard that notes who is dialled."""

    def __init__(self) -> None:
        self.dialled: list[tuple[Call, str, str, dict[str, str]]] = []
        self.tally = Tally()

    def dial(self, call: Call, endpoint: str, variables: dict[str, str], **how: Any) -> None:
        self.dialled.append((call, endpoint, variables))

    def live(self, call_id: UUID) -> None:
        return None


class Desk:
    def __init__(self, database: Database, *, status: str = "active") -> None:
        self.customer_id = uuid4()
        self.board = Board()
        self.disowned: list[UUID] = []
        self.detached: list[UUID] = []
        self.customer = customer = SimpleNamespace(
            id=self.customer_id,
            status=status,
            default_outgoing_source_number_id=None,
            identity_verification_status="none",
        )
        journal = SimpleNamespace(
            touch_flow=lambda flow: None,
            pending=lambda call_id: None,
            disown=self.disowned.extend,
            announce=lambda calls: None,
        )
        flows = SimpleNamespace(
            attach=lambda flow, call: None,
            detach=lambda call: self.detached.append(call.id),
            current=lambda _: None,
        )
        self.client = SimpleNamespace(connected=True)
        self.ordering = ordering = Ordering(
            self.board,  # type: ignore[arg-type]
            SimpleNamespace(by_id=lambda _: customer),  # type: ignore[arg-type]
            Numbers(self.customer_id),  # type: ignore[arg-type]
            sip_domain="ringline.test",
        )
        self.service = CallService(
            database,
            self.board,  # type: ignore[arg-type]
            journal,  # type: ignore[arg-type]
            self.client,  # type: ignore[arg-type]
            flows,  # type: ignore[arg-type]
            ordering,
        )

    async def create(
        self, *to: str, source: str = OWN, anonymous: Anonymity = "auto", seed: UUID | None = None
    ) -> list[Any]:
        return await self.service.create(
            self.customer_id,
            source=Address(type="tel", target=source),
            destinations=[Address(type="tel", target=number) for number in to],
            anonymous=anonymous,
            prepare=lambda: SimpleNamespace(id=uuid4(), stored=False, row=dict),
            seed=seed,
        )


def ids(calls: list[Any]) -> list[UUID]:
    return [call.id if isinstance(call, Call) else call["id"] for call in calls]


async def test_a_call_is_stored_before_it_is_dialled_and_shown_afterwards(database: Database) -> None:
    desk = Desk(database)
    (call,) = await desk.create("+15559876543")
    ((dialled, endpoint, variables),) = desk.board.dialled
    assert dialled is call
    assert endpoint == "PJSIP/kamailio/sip:+15559876543@ringline.test"
    assert variables["CONNECTEDLINE(num)"] == OWN
    assert variables["PJSIP_HEADER(add,X-Ringline-Customer)"] == str(desk.customer_id)
    record, _ = await desk.service.get(desk.customer_id, call.id)
    assert isinstance(record, dict)
    assert record["status"] == "dialing"


async def test_a_repetition_with_the_same_seed_places_nothing_and_finds_the_calls(database: Database) -> None:
    desk, seed = Desk(database), uuid4()
    first = await desk.create("+15559876543", "+15559876544", seed=seed)
    again = await desk.create("+15559876543", "+15559876544", seed=seed)
    assert ids(again) == ids(first)
    assert len(desk.board.dialled) == 2
    assert desk.disowned == []
    other = await desk.create("+15559876543", "+15559876544", seed=uuid4())
    assert not set(ids(other)) & set(ids(first))


async def test_rows_whose_commit_is_in_doubt_are_disowned(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise Unavailable("the connection broke")

    monkeypatch.setattr("ringline.calls.store.insert", broken)
    desk = Desk(database)
    with pytest.raises(Unavailable):
        await desk.create("+15559876543")
    assert desk.board.dialled == []
    assert len(desk.disowned) == len(desk.detached) == 1


async def test_who_may_call_and_when(database: Database) -> None:
    with pytest.raises(PermissionDenied):
        await Desk(database, status="deleted").create("+15559876543")
    desk = Desk(database)
    with pytest.raises(InvalidArgument, match="not one of yours"):
        await desk.create("+15559876543", source="+15550000000")
    with pytest.raises(InvalidArgument, match="virtual"):
        await desk.create("+15559876543", source=VIRTUAL)
    desk.client.connected = False
    with pytest.raises(Unavailable):
        await desk.create("+15559876543")
    assert desk.board.dialled == []


@pytest.mark.parametrize(
    ("source", "anonymous", "number", "hidden"),
    [
        (OWN, "auto", OWN, False),
        (VIRTUAL, "auto", VIRTUAL, False),
        (OWN, "yes", OWN, True),
        ("+15550000000", "auto", "anonymous", True),
    ],
)
async def test_inside_nobody_shows_a_number_of_somebody_else(
    database: Database, source: str, anonymous: Anonymity, number: str, hidden: bool
) -> None:
    desk = Desk(database)
    await desk.create("+899100000002", source=source, anonymous=anonymous)
    ((call, _, variables),) = desk.board.dialled
    assert variables["CONNECTEDLINE(num)"] == number
    assert ("CONNECTEDLINE(pres)" in variables) is hidden
    assert call.anonymous is hidden


async def test_who_is_not_verified_calls_nobody_where_that_is_required(database: Database) -> None:
    desk = Desk(database)
    desk.ordering.identity = Identity(required=True)
    for status in ("none", "pending", "rejected"):
        desk.customer.identity_verification_status = status
        with pytest.raises(PermissionDenied) as refused:
            await desk.create("+15559876543")
        assert (refused.value.reason, status in refused.value.message) == (
            "IDENTITY_VERIFICATION_REQUIRED",
            True,
        )
    assert not desk.board.dialled
    desk.customer.identity_verification_status = "verified"
    await desk.create("+15559876543")
    assert len(desk.board.dialled) == 1
