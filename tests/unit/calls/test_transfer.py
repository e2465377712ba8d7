"""Transfers under every order of events: who is with whom, who is hung up, and that nothing is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ringline import ari
from ringline.calls.background import Backgrounds
from ringline.calls.call import Call
from ringline.calls.control import Controls
from ringline.calls.conversation import Conversation, KeptConversations
from ringline.calls.recovery import Found
from ringline.calls.states import Status
from ringline.calls.transfer import House, Transfer, TransferStatus, TransferType
from ringline.clock import SystemClock
from ringline.sip.address import Address

from .desk import channel
from .test_connection import OWN, Room, settled

BUSY = 17


class Exchange(Room):
    """A conversation of a caller, whose flow waits, with a callee; each of them may transfer the other."""

    def __init__(self) -> None:
        super().__init__()
        client: Any = self.client
        journal: Any = self.journal
        backgrounds = Backgrounds(client)
        self.controls = Controls(client, self.board, journal, backgrounds, SystemClock())
        backgrounds.start()
        self.controls.start()
        self.house = House(client, self.board, journal, self.ordering, self.bridges, self.controls)
        self.changes: list[tuple[TransferStatus, str]] = []
        self.callee: Call
        self.targets: list[Call] = []

    async def talk(self) -> None:
        (self.callee,) = await self.connect("+15550000001")
        self.dial_event(self.callee, "ANSWER")
        await settled()

    def transfer(self, kind: str, by: Call, *to: str) -> Transfer:
        """``by`` hands its partner over."""
        home = self.connections.conversation(by)
        assert home is not None
        partner = home.partner(by)
        assert partner is not None
        before = self.others()
        transfer = Transfer(self.house, TransferType(kind), home, by, partner, self.changed)
        addresses = [Address(type="tel", target=target) for target in to or ("+15550000009",)]
        transfer.begin(self.ordering.orders_from(partner, Address(type="tel", target=OWN), addresses, "auto"))
        self.targets = [call for call in self.others() if call not in before]
        return transfer

    def changed(self, status: TransferStatus, detail: str, target: Call | None) -> None:
        self.changes.append((status, detail))

    def answer(self, call: Call) -> None:
        self.dial_event(call, "ANSWER")

    def hangs_up(self, call: Call, cause: int = 16) -> None:
        """The other side of this call hangs up, or Asterisk reports the end that we asked for."""
        self.client.emit("ChannelHangupRequest", channel=channel(call), cause=cause)
        self.destroyed(call, cause)

    def line(self, call: Call) -> Any:
        return self.board.line(call.id)

    def dropped(self, call: Call) -> list[int]:
        uri = f"channels/{call.channel_id}"
        return [query["reason_code"] for asked, query in self.asked("DELETE", uri) if asked == uri]

    def together(self) -> set[Call]:
        """Who is in the bridge to stay, by what was asked for."""
        inside: set[str] = set()
        for method, uri, query, _ in self.client.sent:
            if uri.endswith("/addChannel"):
                inside.update(query["channel"].split(","))  # type: ignore[index]
            elif uri.endswith("/removeChannel"):
                inside.discard(query["channel"])  # type: ignore[index]
            elif method == "DELETE" and uri.startswith("bridges/"):
                inside.clear()
        staying = (call for call in self.everybody() if not call.ending and call.end_cause is None)
        return {call for call in staying if call.channel_id in inside}

    def hears(self, call: Call) -> str:
        """``ring``, ``moh`` or nothing, by what was asked for."""
        sounds: dict[str, None] = {}
        for method, uri, _, _ in self.client.sent:
            for sound in ("ring", "moh"):
                if uri == f"channels/{call.channel_id}/{sound}":
                    sounds.pop(sound, None)
                    if method == "POST":
                        sounds[sound] = None
        return ",".join(sounds)

    async def close(self) -> None:
        self.board.close()
        if self.flow.task is not None:
            self.flow.task.cancel()
            await asyncio.gather(self.flow.task, return_exceptions=True)

    def everybody(self) -> list[Call]:
        return [line.call for line in self.board.lines()]

    def finish_all(self) -> None:
        """Whoever is to be hung up is gone, as often as that makes others go."""
        while ending := [call for call in self.everybody() if self.dropped(call)]:
            self.hangs_up(ending[0])

    def all_gone(self) -> None:
        assert self.everybody() == []
        made = {uri for uri, _ in self.asked("POST", "bridges/") if "Channel" not in uri}
        assert sorted(uri for uri, _ in self.asked("DELETE", "bridges/")) == sorted(made)
        for uri in made:
            assert not self.bridges.known_bridge(uri.removeprefix("bridges/"))
        assert self.board.watchers == []
        assert self.journal.live.parts == {}


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    await made.talk()
    yield made
    await made.close()


def party(exchange: Exchange, who: str) -> tuple[Call, Call]:
    """The transferer and its partner."""
    pair = exchange.caller, exchange.callee
    return pair if who == "caller" else (pair[1], pair[0])


WHO = pytest.mark.parametrize("who", ["caller", "callee"])


@WHO
async def test_blind_the_transferer_leaves_and_the_partner_gets_the_target(
    exchange: Exchange, who: str
) -> None:
    transferer, partner = party(exchange, who)
    exchange.transfer("blind", transferer)
    (target,) = exchange.targets
    assert (target.master_call_id, target.source.target) == (partner.id, OWN)
    assert exchange.dropped(transferer) == [16]
    assert partner not in exchange.together()
    assert exchange.hears(partner) == "ring"
    exchange.hangs_up(transferer)
    await settled()
    assert not partner.ending
    exchange.answer(target)
    await settled()
    assert exchange.together() == {partner, target}
    assert exchange.hears(partner) == ""
    assert exchange.changes == [(TransferStatus.COMPLETED, "")]
    exchange.hangs_up(target)
    await settled()
    if who == "callee":
        assert (await exchange.result()).answered, "the caller's flow goes on"
        exchange.hang_up_caller()
    else:
        assert exchange.dropped(partner), "nobody is left to talk with"
    exchange.finish_all()
    await settled()
    exchange.all_gone()


@WHO
async def test_blind_and_nobody_answers(exchange: Exchange, who: str) -> None:
    transferer, partner = party(exchange, who)
    exchange.transfer("blind", transferer, "+15550000008", "+15550000009")
    exchange.hangs_up(transferer)
    await settled()
    for target in exchange.targets:
        assert not partner.ending
        exchange.destroyed(target, BUSY)
    await settled()
    assert exchange.changes == [(TransferStatus.FAILED, "nobody answered: busy")]
    assert exchange.hears(partner) == ""
    if who == "callee":
        assert (await exchange.result()).answered
        exchange.hang_up_caller()
    else:
        assert partner.hangup_detail == "the transfer ended: nobody answered: busy"
    exchange.finish_all()
    await settled()
    exchange.all_gone()


@WHO
async def test_attended_from_music_to_the_transfer(exchange: Exchange, who: str) -> None:
    transferer, partner = party(exchange, who)
    exchange.transfer("attended", transferer)
    (target,) = exchange.targets
    assert exchange.together() == set()
    assert (exchange.hears(partner), exchange.hears(transferer)) == ("moh", "ring")
    assert partner.moh
    exchange.answer(target)
    assert exchange.together() == {transferer, target}
    assert (exchange.hears(partner), exchange.hears(transferer)) == ("moh", "")
    exchange.hangs_up(transferer)
    await settled()
    assert exchange.together() == {partner, target}
    assert (exchange.hears(partner), partner.moh) == ("", False)
    assert [status for status, _ in exchange.changes] == [TransferStatus.CONSULTING, TransferStatus.COMPLETED]
    exchange.hangs_up(partner)
    await settled()
    exchange.finish_all()
    await settled()
    exchange.all_gone()


@WHO
@pytest.mark.parametrize("how", ["refuses", "hangs up", "cancel", "cancel consultation", "bridge"])
async def test_attended_is_rolled_back(exchange: Exchange, who: str, how: str) -> None:
    transferer, partner = party(exchange, who)
    if how == "bridge":
        uri = f"bridges/{exchange.connections.conversation(transferer).bridge_id}/addChannel"  # type: ignore[union-attr]
        exchange.client.answers[f"POST {uri}"] = ari.ServerError("no", status=500)
    transfer = exchange.transfer("attended", transferer)
    (target,) = exchange.targets
    if how in ("hangs up", "cancel consultation", "bridge"):
        exchange.answer(target)
    if how == "bridge":
        exchange.client.answers.clear()
        await asyncio.sleep(0.3)
    elif how.startswith("cancel"):
        transfer.cancel()
    else:
        exchange.hangs_up(target, BUSY if how == "refuses" else 16)
    await settled()
    assert transfer.over
    assert exchange.together() == {transferer, partner}
    assert (exchange.hears(partner), exchange.hears(transferer), partner.moh) == ("", "", False)
    assert exchange.changes[-1][0] in (TransferStatus.CANCELED, TransferStatus.FAILED)
    home = exchange.connections.conversation(transferer)
    assert home is not None, "it may be tried again"
    assert exchange.caller.chained_call_ids == [exchange.callee.id]
    exchange.hang_up_caller()
    await settled()
    exchange.finish_all()
    await settled()
    exchange.all_gone()


@WHO
async def test_a_transferer_who_does_not_wait_makes_it_a_blind_one(exchange: Exchange, who: str) -> None:
    transferer, partner = party(exchange, who)
    exchange.transfer("attended", transferer)
    (target,) = exchange.targets
    exchange.hangs_up(transferer)
    await settled()
    assert exchange.hears(partner) == "ring"
    assert not target.ending
    exchange.answer(target)
    await settled()
    assert exchange.together() == {partner, target}
    assert exchange.hears(partner) == ""
    exchange.hangs_up(target)
    exchange.finish_all()
    await settled()
    if who == "callee":
        exchange.hang_up_caller()
    await settled()
    exchange.all_gone()


@WHO
@pytest.mark.parametrize("answered", [False, True])
async def test_the_partner_does_not_wait(exchange: Exchange, who: str, answered: bool) -> None:
    transferer, partner = party(exchange, who)
    exchange.transfer("attended", transferer)
    (target,) = exchange.targets
    if answered:
        exchange.answer(target)
    exchange.hangs_up(partner)
    await settled()
    assert exchange.changes[-1] == (TransferStatus.CANCELED, "the party to be transferred hung up")
    if answered:
        assert exchange.together() == {transferer, target}, "they go on talking"
        assert not transferer.ending
        assert not target.ending
        exchange.hangs_up(target)
    else:
        assert exchange.dropped(target)
    await settled()
    if who == "caller":
        assert (await exchange.result()).answered, "the flow goes on"
        exchange.hang_up_caller()
    exchange.finish_all()
    await settled()
    exchange.all_gone()


async def test_the_first_target_wins_and_a_late_one_is_withdrawn(exchange: Exchange) -> None:
    exchange.transfer("blind", exchange.callee, "+15550000008", "+15550000009")
    first, second = exchange.targets
    exchange.answer(second)
    assert exchange.dropped(first) == [26]
    exchange.answer(first)
    await settled()
    exchange.hangs_up(first, 26)
    assert exchange.together() == {exchange.caller, second}
    exchange.hangs_up(exchange.callee)
    exchange.hang_up_caller()
    await settled()
    exchange.finish_all()
    exchange.all_gone()


async def test_transferred_again_and_again(exchange: Exchange) -> None:
    exchange.transfer("attended", exchange.caller)
    (second,) = exchange.targets
    exchange.answer(second)
    exchange.hang_up_caller()
    await settled()
    assert isinstance(exchange.connections.conversation(second), Conversation)
    assert exchange.together() == {exchange.callee, second}
    exchange.transfer("attended", second)
    (third,) = exchange.targets
    assert exchange.connections.conversation(second) is None, "one transfer at a time"
    exchange.answer(third)
    exchange.hangs_up(third)
    assert exchange.together() == {exchange.callee, second}, "rolled back without a flow"
    exchange.transfer("blind", exchange.callee)
    (fourth,) = exchange.targets
    exchange.hangs_up(exchange.callee)
    exchange.answer(fourth)
    assert exchange.together() == {second, fourth}
    exchange.hangs_up(second)
    exchange.finish_all()
    await settled()
    exchange.all_gone()


@pytest.mark.parametrize("alone", [False, True])
async def test_a_conversation_goes_on_with_another_controller(exchange: Exchange, alone: bool) -> None:
    exchange.transfer("attended", exchange.caller)
    (target,) = exchange.targets
    exchange.answer(target)
    exchange.hang_up_caller()
    await settled()
    parts = {key: value for (_, key), value in exchange.journal.live.parts.items()}
    ((bridge_id, kept),) = parts.items()
    assert kept["calls"] == [str(exchange.callee.id), str(target.id)]
    for call in (exchange.callee, target):
        exchange.line(call).hooks = exchange.hooks
    if alone:
        exchange.hangs_up(target)
    channels = [exchange.callee.channel_id, target.channel_id]
    found = Found(bridges={bridge_id: {"channels": channels}}, parts={"conversations": parts})
    client: Any = exchange.client
    live: Any = exchange.journal.live
    await KeptConversations(client, exchange.board, exchange.bridges, live).restore(found)
    if alone:
        assert exchange.journal.live.parts == {}
        return
    assert exchange.connections.conversation(target) is not None
    exchange.hangs_up(exchange.callee)
    assert exchange.dropped(target)
    exchange.finish_all()
    await settled()
    exchange.all_gone()


async def test_the_flow_of_the_partner_is_stopped(exchange: Exchange) -> None:
    exchange.transfer("attended", exchange.callee)
    (target,) = exchange.targets
    exchange.answer(target)
    assert exchange.flow.task is not None
    exchange.flow.task.cancel()
    await settled()
    assert exchange.changes[-1] == (TransferStatus.CANCELED, "the flow of the call was stopped")
    exchange.finish_all()
    await settled()
    exchange.all_gone()


async def test_the_bridge_is_lost(exchange: Exchange) -> None:
    home = exchange.connections.conversation(exchange.caller)
    assert home is not None
    exchange.transfer("attended", exchange.callee)
    exchange.answer(exchange.targets[0])
    exchange.bridges.bridge_lost(home.bridge_id)
    await settled()
    assert exchange.changes[-1][0] is TransferStatus.FAILED
    exchange.finish_all()
    await settled()
    exchange.all_gone()


async def test_who_talks_with_nobody_can_transfer_nobody() -> None:
    exchange = Exchange()
    assert exchange.connections.conversation(exchange.caller) is None
    (callee,) = await exchange.connect("+15550000001")
    assert exchange.connections.conversation(callee) is None, "it rings"
    exchange.answer(callee)
    assert exchange.connections.conversation(callee) is not None
    exchange.hangs_up(callee)
    assert exchange.connections.conversation(exchange.caller) is None
    exchange.hang_up_caller()
    await settled()
    await exchange.close()


@pytest.mark.parametrize("seed", range(150))
async def test_any_order_of_events_leaves_nothing(seed: int) -> None:
    dice = random.Random(seed)
    exchange = Exchange()
    await exchange.talk()
    transferer, _ = party(exchange, dice.choice(["caller", "callee"]))
    kind = dice.choice(["blind", "attended"])
    transfer = exchange.transfer(kind, transferer, *["+15550000007", "+15550000008"][: dice.randint(1, 2)])
    for _ in range(dice.randint(1, 7)):
        alive = exchange.everybody()
        if not alive:
            break
        call = dice.choice(alive)
        event = dice.choice(["end", "end", "answer", "cancel", "complete"])
        if event == "end" or (event == "answer" and call not in exchange.targets):
            exchange.hangs_up(call, dice.choice([16, 17, 19]))
        elif event == "answer":
            exchange.answer(call)
        elif not transfer.over:
            transfer.cancel() if event == "cancel" else transfer.complete()
        if dice.random() < 0.7:
            await settled()
        staying = {one for one in exchange.everybody() if not one.ending and one.end_cause is None}
        if transfer.over and len(staying) > 1:
            assert exchange.together() & staying == staying
            assert len(staying) == 2
    for call in exchange.everybody():
        if call.status is Status.PROGRESSING and not exchange.dropped(call):
            exchange.hangs_up(call)
            await settled()
    exchange.finish_all()
    await settled()
    exchange.all_gone()
    assert transfer.over
    await exchange.close()
