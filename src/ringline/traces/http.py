"""The route of traces."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.errors import NotFound
from ringline.http import BytesReply, QueryModel, Request, Route
from ringline.traces import models
from ringline.traces.ladder import ladder
from ringline.traces.models import SipTrace
from ringline.traces.pcap import pcap
from ringline.traces.service import TraceService

PCAP = "application/vnd.tcpdump.pcap"
TEXT = "text/plain"


class TraceQuery(QueryModel):
    """What to show, and how."""

    format: Literal["", "json", "ladder", "pcap"] = Field(
        default="",
        description="`json`, `ladder` (text) or `pcap` (a file for Wireshark). Left out, the `Accept` header decides"
        f" (`{TEXT}`, `{PCAP}`), and without one it is JSON.",
    )
    legs: Literal["all", "own"] = Field(
        default="all",
        description="`all`: with the call that this one was made for and the calls made for it; `own`: without.",
    )
    texts: bool = Field(default=False, description="The ladder with each message in full behind it.")


def routes(traces: TraceService) -> list[Route]:
    """The SIP messages of calls."""

    async def get(request: Request[None, TraceQuery]) -> SipTrace | BytesReply:
        query, call_id = request.query, request.path["call_id"]
        legs = await traces.legs(request.customer_id, call_id, linked=query.legs == "all")
        kind = query.format or _accepted(request.headers.get("Accept", ""))
        if kind == "ladder":
            return BytesReply(ladder(legs, texts=query.texts).encode(), f"{TEXT}; charset=utf-8")
        if kind == "pcap":
            messages = sorted((one for leg in legs for one in leg.messages), key=lambda one: one.time_us)
            return BytesReply(pcap(messages), PCAP, f"{call_id}.pcap")
        return models.view(call_id, legs)

    return [
        Route(
            method="GET",
            path="/v1.0/calls/{call_id}/sip",
            handler=get,
            summary="Get the SIP messages of a call",
            description="Each message that Kamailio received or sent for the call, on both of its sides, with times"
            " in microseconds; while the call lasts, too. Credentials, keys and digits sent by INFO are taken out,"
            " and the identity of an anonymous caller. Kept for `RINGLINE_SIP_TRACE_DAYS` (7 days) and while there"
            " is room; empty where nothing was kept. In the capture file every message is a UDP datagram between the"
            " real addresses, also one that came by TCP, TLS or WebSocket.",
            tags=("calls",),
            query=TraceQuery,
            response=SipTrace,
            errors=(NotFound,),
            produces=(TEXT, PCAP),
        )
    ]


def _accepted(header: str) -> str:
    """The first of our formats in an ``Accept`` header."""
    for part in header.lower().split(","):
        kind = part.partition(";")[0].strip()
        if kind in (TEXT, PCAP):
            return "ladder" if kind == TEXT else "pcap"
        if kind in ("application/json", "*/*"):
            break
    return "json"
