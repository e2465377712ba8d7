"""From datagrams to the messages of one call's leg."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ringline.calls.states import Direction as CallDirection
from ringline.traces import hep
from ringline.traces.message import Direction, Message, Side, header, method, tag
from ringline.traces.redaction import hide_identity, identity_marks, redact

_BRANCH = re.compile(r";[ \t]*branch[ \t]*=[ \t]*([^;,\s]+)", re.IGNORECASE)
_ARRIVAL = "X-Ringline-Arrival"
_OWN_PHONES = ("extension,", "trunk,")


@dataclass(frozen=True)
class Sockets:
    """Where Kamailio listens: what comes from there was sent by it."""

    addresses: Collection[str]
    ports: dict[int, str]
    """Port to transport; '' where a port has more than one."""

    def sends(self, packet: hep.Packet) -> bool:
        return packet.source in self.addresses and packet.source_port in self.ports

    def transport(self, packet: hep.Packet, *, sent: bool) -> str:
        """HEP has one number for TLS, WS and WSS; the port tells them apart."""
        port = packet.source_port if sent else packet.destination_port
        return self.ports.get(port) or packet.transport


def messages(datagrams: Iterable[bytes], sockets: Sockets) -> list[Message]:
    """In the order of their times; what is no SIP is left out."""
    packets = [packet for data in datagrams if (packet := hep.parse(data)) is not None]
    packets.sort(key=lambda packet: packet.time_us)
    caller = _caller_tag(packets)
    found = []
    for packet in packets:
        if not method(packet.payload):
            continue
        sent = sockets.sends(packet)
        direction: Direction = "out" if sent else "in"
        found.append(
            Message(
                packet.time_us,
                direction,
                _side(packet, caller, sent=sent),
                sockets.transport(packet, sent=sent),
                packet.source,
                packet.source_port,
                packet.destination,
                packet.destination_port,
                packet.length,
                packet.payload,
            )
        )
    return found


def in_order_of_cause(found: list[Message]) -> list[Message]:
    """Kamailio copies what it sends after it was sent, and on a busy machine the answer may be there before the copy.
    What an answer answers was sent before it.
    """
    answered: dict[tuple[str, ...], int] = {}
    for message in found:
        if message.direction == "in":
            for key in _answers(message):
                answered.setdefault(key, message.time_us)
    corrected = []
    for message in found:
        if message.direction == "out":
            limit = answered.get(_as_cause(message), message.time_us)
            if limit < message.time_us:
                message = replace(message, time_us=limit - 1)  # noqa: PLW2901 - the same message, put right
        corrected.append(message)
    return sorted(corrected, key=lambda message: message.time_us)


def _answers(message: Message) -> list[tuple[str, ...]]:
    """What was sent before this could come in: the request of a reply (by branch), the final reply to the INVITE of
    an ACK, and to the INVITE before this one.
    """
    if message.status:
        return [("request", _branch(message), message.method)]
    caller = tag(message.header("From", "f"))
    if message.method == "ACK":
        return [("reply", str(message.cseq), caller)]
    # with credentials, after it was challenged without
    return [("reply", str(message.cseq - 1), caller)] if message.method == "INVITE" else []


def _as_cause(message: Message) -> tuple[str, ...]:
    if not message.status:
        return ("request", _branch(message), message.method)
    if message.method == "INVITE" and message.status >= 200:
        return ("reply", str(message.cseq), tag(message.header("From", "f")))
    return ()


def _branch(message: Message) -> str:
    match = _BRANCH.search(message.header("Via", "v"))
    return match[1] if match else ""


def _caller_tag(packets: Sequence[hep.Packet]) -> str:
    """The tag of whoever sent the first INVITE; without one, of whoever sent the first request."""
    requests = [packet for packet in packets if not packet.payload.startswith(b"SIP/2.0")]
    requests.sort(key=lambda packet: not packet.payload.startswith(b"INVITE "))
    return tag(header(requests[0].payload, "From", "f")) if requests else ""


def _side(packet: hep.Packet, caller: str, *, sent: bool) -> Side:
    """A request of the caller's is on its side when it comes in, a reply to it when it goes out."""
    is_reply = packet.payload.startswith(b"SIP/2.0")
    of_caller = tag(header(packet.payload, "From", "f")) == caller
    return "caller" if of_caller ^ is_reply ^ sent else "callee"


def own_part(found: list[Message], direction: CallDirection) -> list[Message]:
    """The part of a call to a number of ours that is one call's: both calls have the same Call-ID, and what they say
    to Kamailio may be of two customers.
    """
    came = next((one for one in found if _begins(one) and one.direction == "in"), None)
    went = next((one for one in found if _begins(one) and one.direction == "out"), None)
    if (
        came is None
        or went is None
        or (came.source, came.source_port) != (went.destination, went.destination_port)
    ):
        return found
    side = "caller" if direction is CallDirection.OUTGOING else "callee"
    return [one for one in found if one.side == side]


def _begins(message: Message) -> bool:
    return message.raw.startswith(b"INVITE ") and not tag(message.header("To", "t"))


def is_internal(found: list[Message]) -> bool:
    """Whether two calls share these messages."""
    return len(own_part(found, CallDirection.OUTGOING)) < len(found)


def shown(found: list[Message], call: dict[str, Any]) -> list[Message]:
    """The messages of a call as its owner may see them. ``call``: ``direction`` and ``anonymous`` of its row."""
    direction = CallDirection(call["direction"])
    part = own_part(found, direction)
    marks = None
    if direction is CallDirection.INCOMING and call["anonymous"] and not _from_own_phone(found):
        marks = identity_marks(one.raw for one in found if one.raw.startswith(b"INVITE "))
    result = []
    for one in part:
        raw = redact(one.raw)
        if marks is not None:
            raw = hide_identity(raw, marks)
        # most have nothing to hide
        result.append(one if raw is one.raw else replace(one, raw=raw))
    return result


def _from_own_phone(found: Iterable[Message]) -> bool:
    return any(_begins(one) and one.header(_ARRIVAL).startswith(_OWN_PHONES) for one in found)
