"""A telephone joins the two parties it talks with: who is with whom afterwards, and whose flow goes on when."""

from __future__ import annotations

from typing import Any

import pytest

from ringline.calls.background import Backgrounds
from ringline.calls.call import Call
from ringline.calls.conversation import Conversation
from ringline.calls.joining import Side, join
from ringline.calls.phone_hold import PhoneHolds
from ringline.calls.transfer import Transfer, TransferStatus, TransferType
from ringline.sip.address import Address

from .desk import channel
from .test_connection import OWN, settled
from .test_transfer import BUSY, Exchange


class Telephone(Exchange):
    """The exchange's caller and callee talk; a second caller of another exchange is not needed for what follows."""

    def refer(self, by: Call) -> Transfer:
        """A blind transfer whose transferer waits."""
        home = self.connections.conversation(by)
        assert home is not None
        partner = home.partner(by)
        assert partner is not None
        before = self.others()
        transfer = Transfer(self.house, TransferType.BLIND, home, by, partner, self.changed, stays=True)
        target = [Address(type="tel", target="+15550000009")]
        transfer.begin(self.ordering.orders_from(partner, Address(type="tel", target=OWN), target, "auto"))
        self.targets = [call for call in self.others() if call not in before]
        return transfer


@pytest.mark.parametrize("who", ["caller", "callee"])
async def test_the_transferer_waits_aside_and_leaves_when_the_target_answers(who: str) -> None:
    room = Telephone()
    await room.talk()
    transferer, partner = (room.caller, room.callee) if who == "caller" else (room.callee, room.caller)
    room.refer(transferer)
    assert not room.dropped(transferer)
    assert room.hears(partner) == "ring"
    (target,) = room.targets
    room.answer(target)
    await settled()
    assert room.changes == [(TransferStatus.COMPLETED, "")]
    assert room.together() == {partner, target}
    assert not room.dropped(transferer), "its telephone hangs up by itself"
    room.hangs_up(transferer)
    await settled()
    assert {partner, target} <= set(room.everybody())
    room.hangs_up(partner)
    await settled()
    room.finish_all()
    await settled()
    room.all_gone()
    await room.close()


@pytest.mark.parametrize("who", ["caller", "callee"])
async def test_a_party_that_nobody_wants_comes_back(who: str) -> None:
    room = Telephone()
    await room.talk()
    room.refer(room.caller if who == "caller" else room.callee)
    room.hangs_up(room.targets[0], BUSY)
    await settled()
    assert room.changes[-1][0] is TransferStatus.FAILED
    assert room.together() == {room.caller, room.callee}
    room.hangs_up(room.callee)
    await settled()
    room.finish_all()
    await settled()
    await room.close()


async def test_a_transferer_that_does_not_wait_leaves_the_party_ringing() -> None:
    room = Telephone()
    await room.talk()
    room.refer(room.callee)
    room.hangs_up(room.callee)
    await settled()
    assert room.hears(room.caller) == "ring"
    room.answer(room.targets[0])
    await settled()
    assert room.together() == {room.caller, room.targets[0]}
    room.hangs_up(room.caller)
    await settled()
    room.finish_all()
    await settled()
    room.all_gone()
    await room.close()


class Held:
    """A telephone that holds, and what its partner hears."""

    def __init__(self, room: Exchange) -> None:
        client: Any = room.client
        self.backgrounds = Backgrounds(client)
        self.holds = PhoneHolds(client, room.board, room.connections, self.backgrounds)
        room.board.watchers.append(self.holds.call_ended)
        self.backgrounds.start()
        self.holds.start()


async def test_a_telephone_on_hold_lets_the_other_party_hear_music() -> None:
    room = Exchange()
    held = Held(room)
    await room.talk()
    room.client.emit("ChannelHold", channel=channel(room.callee))
    assert room.hears(room.caller) == "moh"
    assert held.holds.waits(room.caller)
    assert not (room.caller.hold or room.caller.moh or room.callee.hold), "the API's flags are its own"
    room.client.emit("ChannelUnhold", channel=channel(room.callee))
    assert room.hears(room.caller) == ""
    await room.close()


@pytest.mark.parametrize("event", ["left", "ended"])
async def test_the_music_ends_with_the_conversation(event: str) -> None:
    room = Exchange()
    held = Held(room)
    await room.talk()
    room.client.emit("ChannelHold", channel=channel(room.callee))
    if event == "left":
        room.client.emit("ChannelLeftBridge", channel=channel(room.caller), bridge={"id": "x"})
    else:
        room.hangs_up(room.callee)
    await settled()
    assert room.hears(room.caller) == ""
    assert not held.holds.waits(room.caller)
    await room.close()


async def test_a_hold_of_another_life_ends_as_well() -> None:
    room = Exchange()
    Held(room)
    await room.talk()
    room.client.emit("ChannelUnhold", channel=channel(room.callee))
    assert f"channels/{room.caller.channel_id}/moh" in room.client.requests("DELETE")
    await room.close()


async def test_a_hold_without_a_partner_is_nobodys_business() -> None:
    room = Exchange()
    Held(room)
    await room.talk()
    room.hangs_up(room.callee)
    await settled()
    room.client.emit("ChannelHold", channel=channel(room.caller))
    assert room.hears(room.caller) == ""
    await room.close()


async def test_the_parties_of_two_calls_are_joined() -> None:
    """The exchange's caller runs a flow; the other party is one that the telephone called."""
    room = Exchange()
    await room.talk()
    home = room.connections.conversation(room.callee)
    assert home is not None
    second = await consult(room)
    joined = room.connections.conversation(second[0])
    assert joined is not None
    join(room.house, Side(home, room.callee, room.caller), Side(joined, second[0], second[1]))
    await settled()
    assert inside(room, home.bridge_id) == {room.caller, second[1]}
    assert inside(room, "connect-second") == set()
    # the telephone hangs up both of its calls: the two that it joined talk on
    room.hangs_up(room.callee)
    room.hangs_up(second[0])
    await settled()
    assert not room.dropped(room.caller)
    assert not room.dropped(second[1])
    # the flow of the first goes on when the other one has gone
    room.hangs_up(second[1])
    await settled()
    assert (await room.result()).answered
    await room.close()


async def consult(room: Exchange) -> tuple[Call, Call]:
    """A conversation of two legs without a flow: the telephone's second call."""
    own, party = room.dial(), room.dial()
    for call in (own, party):
        room.answer(call)
        room.stasis_start(call)
    client: Any = room.client
    journal: Any = room.journal
    Conversation(
        client, room.board, room.bridges, journal.live, "connect-second", str(own.id), (own, party)
    ).begin([own, party])
    await settled()
    return own, party


def inside(room: Exchange, bridge_id: str) -> set[Call]:
    """Who is in a bridge, by what was asked for."""
    names: set[str] = set()
    for method, uri, query, _ in room.client.sent:
        if method == "POST" and uri.endswith("/addChannel"):
            channels = set(query["channel"].split(","))  # type: ignore[index]
            # whoever enters one bridge has left every other one
            names = names | channels if bridge_id in uri else names - channels
        elif uri == f"bridges/{bridge_id}/removeChannel":
            names.discard(query["channel"])  # type: ignore[index]
        elif (method, uri) == ("DELETE", f"bridges/{bridge_id}"):
            names.clear()
    return {call for call in room.everybody() if call.channel_id in names}
