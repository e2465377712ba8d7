"""Session descriptions (RFC 8866): the one audio stream of a call, offered and answered (RFC 3264)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Literal

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Law = Literal["PCMU", "PCMA"]

_STATIC: dict[int, Law] = {0: "PCMU", 8: "PCMA"}
_MIRROR: dict[Direction, Direction] = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}
_DIRECTIONS: dict[str, Direction] = {str(direction): direction for direction in _MIRROR}
EVENT_PAYLOAD = 101


class NotAcceptable(ValueError):
    """No audio stream in it that this end can join; the message says why. Becomes 488."""


@dataclass(frozen=True, slots=True)
class Audio:
    """What the other side wants: where to, which law, how it marks key presses.

    ``event_payload`` is ``None`` where it cannot take telephone events. ``slots`` are the ``m=`` lines of the
    description, as (media, protocol, formats), and ``index`` says which one was chosen: an answer must list
    all of them.
    """

    address: IPv4Address
    port: int
    law: Law
    payload: int
    event_payload: int | None
    direction: Direction
    slots: tuple[tuple[str, str, str], ...] = ()
    index: int = 0


def parse(body: bytes) -> Audio:
    """Find the first audio stream over plain RTP with G.711 in a description."""
    session_address: str | None = None
    session_direction: Direction = "sendrecv"
    sections: list[list[tuple[str, str]]] = []
    for line in body.decode("utf-8", "replace").splitlines()[:500]:
        kind, equals, value = line.partition("=")
        if not equals:
            continue
        if kind == "m":
            sections.append([(kind, value.strip())])
        elif sections:
            sections[-1].append((kind, value.strip()))
        elif kind == "c":
            session_address = value.strip()
        elif kind == "a":
            session_direction = _DIRECTIONS.get(value.strip(), session_direction)
    slots = tuple(_slot(section[0][1]) for section in sections)
    for index, (media, protocol, formats) in enumerate(slots):
        if media.partition(" ")[0] == "audio" and protocol in ("RTP/AVP", "RTP/AVPF"):
            audio = _audio(sections[index], media, formats, session_address, session_direction)
            if audio is not None:
                address, port, law, payload, event, direction = audio
                return Audio(address, port, law, payload, event, direction, slots, index)
    raise NotAcceptable("no RTP/AVP audio stream with PCMU or PCMA and an IPv4 address")


def _slot(line: str) -> tuple[str, str, str]:
    """``audio 4000 RTP/AVP 0 8`` as ("audio 4000", "RTP/AVP", "0 8")."""
    words = line.split()
    if len(words) < 4:
        raise NotAcceptable(f"m= line: {line[:80]!r}")
    return f"{words[0]} {words[1]}", words[2], " ".join(words[3:])


def _audio(
    section: list[tuple[str, str]],
    media: str,
    formats: str,
    session_address: str | None,
    session_direction: Direction,
) -> tuple[IPv4Address, int, Law, int, int | None, Direction] | None:
    port_text = media.partition(" ")[2].partition("/")[0]
    if not port_text.isascii() or not port_text.isdigit() or not 0 < int(port_text) < 65536:
        return None
    connection = session_address
    direction = session_direction
    names: dict[int, str] = {}
    for kind, value in section[1:]:
        if kind == "c":
            connection = value
        elif kind == "a" and value in _DIRECTIONS:
            direction = _DIRECTIONS[value]
        elif kind == "a" and value.startswith("rtpmap:"):
            number, _, encoding = value[7:].partition(" ")
            if number.isascii() and number.isdigit():
                names[int(number)] = encoding.strip().upper()
    payloads = [
        int(item) for item in formats.split() if item.isascii() and item.isdigit() and int(item) < 128
    ]
    chosen: tuple[int, Law] | None = None
    event: int | None = None
    for payload in payloads:
        name = names.get(payload, "")
        if event is None and name.startswith("TELEPHONE-EVENT/8000"):
            event = payload
        law = _law(name) or (_STATIC.get(payload) if not name else None)
        if chosen is None and law is not None:
            chosen = (payload, law)
    words = (connection or "").split()
    if chosen is None or len(words) != 3 or words[1] != "IP4":
        return None
    try:
        address = IPv4Address(words[2].partition("/")[0])
    except AddressValueError:
        return None
    if address.is_unspecified:  # hold in the manner of RFC 2543
        direction = "inactive"
    return address, int(port_text), chosen[1], chosen[0], event, direction


def _law(name: str) -> Law | None:
    if name.startswith("PCMU/8000"):
        return "PCMU"
    if name.startswith("PCMA/8000"):
        return "PCMA"
    return None


def offer(address: str, port: int, session: int, version: int = 1) -> bytes:
    """Our own offer: both laws and telephone events."""
    return _description(
        address,
        session,
        version,
        [
            f"m=audio {port} RTP/AVP 0 8 {EVENT_PAYLOAD}",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:8 PCMA/8000",
            *_events(EVENT_PAYLOAD),
            "a=ptime:20",
            "a=sendrecv",
        ],
    )


def answer(audio: Audio, address: str, port: int, session: int, version: int = 1) -> bytes:
    """The answer to an offer: the chosen stream, every other one refused with port 0."""
    lines: list[str] = []
    for index, (media, protocol, formats) in enumerate(audio.slots):
        if index != audio.index:
            lines.append(f"m={media.partition(' ')[0]} 0 {protocol} {formats}")
            continue
        event = [] if audio.event_payload is None else [audio.event_payload]
        listed = " ".join(str(item) for item in [audio.payload, *event])
        lines += [f"m=audio {port} {protocol} {listed}", f"a=rtpmap:{audio.payload} {audio.law}/8000"]
        for payload in event:
            lines += _events(payload)
        lines += ["a=ptime:20", f"a={_MIRROR[audio.direction]}"]
    return _description(address, session, version, lines)


def _events(payload: int) -> list[str]:
    return [f"a=rtpmap:{payload} telephone-event/8000", f"a=fmtp:{payload} 0-16"]


def _description(address: str, session: int, version: int, media: list[str]) -> bytes:
    head = [
        "v=0",
        f"o=carrier {session} {version} IN IP4 {address}",
        "s=-",
        f"c=IN IP4 {address}",
        "t=0 0",
    ]
    return ("\r\n".join([*head, *media]) + "\r\n").encode()
