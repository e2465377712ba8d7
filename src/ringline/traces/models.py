"""Traces as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from ringline.http import ResponseModel
from ringline.traces.message import Message

_PARTIES = {"tel": "carrier", "extension": "phone", "endpoint": "phone", "agent": "phone", "sip": "SIP host"}


@dataclass(frozen=True)
class Leg:
    """One call with the messages of its dialog."""

    call_id: UUID
    sip_call_id: str
    direction: str
    source: str
    destination: str
    party: str
    """What stands at its other end: ``carrier``, ``phone``, ``SIP host``."""
    messages: Sequence[Message]
    dropped: int

    @classmethod
    def of(cls, row: Mapping[str, Any], messages: Sequence[Message], dropped: int) -> Leg:
        """The leg of a call's row."""
        source, destination = row["source"], row["destination"]
        other = source if row["direction"] == "incoming" else destination
        hidden = row["direction"] == "incoming" and row["anonymous"]
        return cls(
            call_id=UUID(str(row["id"])),
            sip_call_id=row["sip_call_id"],
            direction=row["direction"],
            source="anonymous" if hidden else source.get("target", ""),
            destination=destination.get("target", ""),
            party=_PARTIES.get(other.get("type", ""), "party"),
            messages=messages,
            dropped=dropped,
        )


class SipLeg(ResponseModel):
    """A call whose messages are in the trace."""

    call_id: UUID
    sip_call_id: str = Field(description="The `Call-ID` of its dialog; empty where nothing was sent.")
    direction: str = Field(description="`incoming` or `outgoing`.")
    source: str
    destination: str
    messages: int = Field(description="How many of its messages follow.")
    dropped: int = Field(description="How many more there were: 200 messages and 256 KB are kept of a call.")


class SipMessage(ResponseModel):
    """A message as it was on the wire at Kamailio, without credentials."""

    call_id: UUID = Field(description="The call it belongs to.")
    time_us: int = Field(description="Microseconds since 1970-01-01T00:00:00Z.")
    tm: str = Field(description="The same as text, ISO 8601 in UTC.")
    direction: str = Field(description="`in`: Kamailio received it; `out`: Kamailio sent it.")
    side: str = Field(
        description="`caller` or `callee`: with which of the two parties Kamailio exchanged it."
    )
    transport: str = Field(description="`udp`, `tcp`, `tls`, `ws` or `wss`.")
    source: str = Field(description="Address and port.")
    destination: str = Field(description="Address and port.")
    method: str = Field(description="Of the request, or of the request that a reply belongs to.")
    status: int = Field(description="Of a reply; 0 for a request.")
    reason: str = Field(description="Of a reply; empty for a request.")
    cseq: int
    length: int = Field(description="Bytes on the wire; `text` may have fewer.")
    text: str = Field(description="The message. 16 KB of it are kept.")


class SipTrace(ResponseModel):
    """The SIP messages of a call and of the calls that belong to it, in the order of their times."""

    call_id: UUID
    legs: list[SipLeg]
    messages: list[SipMessage]


def view(call_id: UUID, legs: Sequence[Leg]) -> SipTrace:
    """The answer."""
    messages = [_message(leg.call_id, one) for leg in legs for one in leg.messages]
    messages.sort(key=lambda one: one.time_us)
    return SipTrace(
        call_id=call_id,
        legs=[
            SipLeg(
                call_id=leg.call_id,
                sip_call_id=leg.sip_call_id,
                direction=leg.direction,
                source=leg.source,
                destination=leg.destination,
                messages=len(leg.messages),
                dropped=leg.dropped,
            )
            for leg in legs
        ],
        messages=messages,
    )


def _message(call_id: UUID, one: Message) -> SipMessage:
    seconds, microseconds = divmod(one.time_us, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
    return SipMessage(
        call_id=call_id,
        time_us=one.time_us,
        tm=moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        direction=one.direction,
        side=one.side,
        transport=one.transport,
        source=endpoint(one.source, one.source_port),
        destination=endpoint(one.destination, one.destination_port),
        method=one.method,
        status=one.status,
        reason=one.reason,
        cseq=one.cseq,
        length=one.length,
        text=one.text,
    )


def endpoint(host: str, port: int) -> str:
    """``127.0.0.1:5060``, ``[::1]:5060``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
