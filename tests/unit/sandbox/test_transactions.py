"""Repetitions and their end, with SIP's timers a hundred times as fast."""

from __future__ import annotations

import asyncio

import pytest

from ringline.sandbox.ua import transactions
from ringline.sandbox.ua.message import Request, Response, parse
from ringline.sandbox.ua.transactions import ClientTransaction, ServerTransaction, server_key

PEER = ("127.0.0.1", 5060)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "T1", 0.005)
    monkeypatch.setattr(transactions, "T2", 0.04)
    monkeypatch.setattr(transactions, "LIFETIME", 0.32)


class Wire:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Request | Response] = []

    def __call__(self, data: bytes, peer: tuple[str, int]) -> None:
        assert peer == PEER
        message = parse(data)
        assert message is not None
        self.sent.append(message)


def request(method: str) -> Request:
    made = Request(method=method, uri="sip:+1555@127.0.0.1")
    made.add("via", "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKx")
    made.add("from", "<sip:a@b>;tag=1")
    made.add("to", "<sip:+1555@127.0.0.1>")
    made.add("call-id", "c")
    made.add("cseq", f"1 {method}")
    return made


async def test_a_final_response_to_an_invite_is_repeated_until_its_ack() -> None:
    wire, heard = Wire(), []
    transaction = ServerTransaction(wire, request("INVITE"), PEER)
    transaction.on_acknowledged = lambda: heard.append("ack")
    transaction.on_unacknowledged = lambda: heard.append("lost")
    transaction.respond(transaction.request.response(180))
    transaction.respond(transaction.request.response(486))
    transaction.respond(transaction.request.response(200))  # too late
    await asyncio.sleep(0.03)
    transaction.acknowledged()
    count = len(wire.sent)
    assert count >= 3
    assert [message.status for message in wire.sent if isinstance(message, Response)][:2] == [180, 486]
    transaction.acknowledged()
    await asyncio.sleep(0.4)
    assert len(wire.sent) == count
    assert heard == ["ack"]


async def test_an_ack_that_never_comes_is_reported_once() -> None:
    wire, heard = Wire(), []
    transaction = ServerTransaction(wire, request("INVITE"), PEER)
    transaction.on_unacknowledged = lambda: heard.append("lost")
    transaction.respond(transaction.request.response(200))
    await asyncio.sleep(0.5)
    assert heard == ["lost"]
    # fewer where the machine paused
    assert 5 <= len(wire.sent) <= 14
    assert transaction.remaining() > 0  # remembered a little longer than its repetitions


async def test_other_responses_are_repeated_only_when_asked() -> None:
    wire = Wire()
    transaction = ServerTransaction(wire, request("BYE"), PEER)
    transaction.repeated()
    assert not wire.sent
    transaction.respond(transaction.request.response(200))
    await asyncio.sleep(0.05)
    transaction.repeated()
    assert len(wire.sent) == 2


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
async def test_a_request_nobody_answers_ends_with_408(method: str) -> None:
    wire = Wire()
    statuses: list[int] = []
    transaction = ClientTransaction(
        wire, request(method), PEER, lambda response: statuses.append(response.status)
    )
    transaction.start()
    await asyncio.sleep(0.5)
    assert statuses == [408]
    assert len(wire.sent) >= 4
    transaction.received(request(method).response(200))
    assert statuses == [408, 200] if method == "INVITE" else [408]


async def test_an_invite_waits_quietly_while_it_rings() -> None:
    wire = Wire()
    statuses: list[int] = []
    transaction = ClientTransaction(
        wire, request("INVITE"), PEER, lambda response: statuses.append(response.status)
    )
    transaction.start()
    transaction.received(request("INVITE").response(180))
    await asyncio.sleep(0.4)
    assert (len(wire.sent), statuses) == (1, [180])
    refusal = request("INVITE").response(486, tag="far")
    transaction.received(refusal)
    transaction.received(refusal)
    assert statuses == [180, 486]
    acks = [message for message in wire.sent if isinstance(message, Request) and message.method == "ACK"]
    assert len(acks) == 2
    assert acks[0].get("to").endswith(";tag=far")
    assert acks[0].get("via") == transaction.request.get("via")
    assert acks[0].cseq == (1, "ACK")
    cancel = transaction.cancel_request()
    assert (cancel.method, cancel.get("via"), cancel.cseq) == ("CANCEL", acks[0].get("via"), (1, "CANCEL"))


def test_ack_and_cancel_find_their_invite() -> None:
    sender = ("127.0.0.1", 5060)
    keys = {server_key(request(method), "z9hG4bKx", sender) for method in ("INVITE", "ACK", "CANCEL")}
    assert len(keys) == 1
    assert server_key(request("BYE"), "z9hG4bKx", sender) not in keys
    assert server_key(request("INVITE"), "z9hG4bKx", ("127.0.0.2", 5060)) not in keys
    assert server_key(request("INVITE"), "old", sender) == server_key(request("ACK"), "older", sender)
