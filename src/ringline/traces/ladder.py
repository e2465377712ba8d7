"""Messages as a text ladder: one column for each party, one line for each message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ringline.traces.message import Message
from ringline.traces.models import Leg, endpoint

WIDTH = 26
_TIME = 17
KAMAILIO = "Kamailio"
ASTERISK = "Asterisk"


@dataclass(frozen=True, slots=True)
class _Place:
    """A column: an address and what stands there."""

    name: str
    address: str


def ladder(legs: Sequence[Leg], *, texts: bool = False) -> str:
    """The ladder; with ``texts`` each message in full behind it. ASCII, apart from what messages say."""
    lines = _heading(legs)
    entries = sorted(
        ((one, index) for index, leg in enumerate(legs) for one in leg.messages),
        key=lambda entry: entry[0].time_us,
    )
    if not entries:
        return "\n".join([*lines, "", "No SIP messages were kept.", ""])
    places = _places(legs)
    order = {place.address: number for number, place in enumerate(places)}
    names = "".join(f"{place.name[: WIDTH - 2]:<{WIDTH}}" for place in places)
    addresses = "".join(f"{place.address[: WIDTH - 2]:<{WIDTH}}" for place in places)
    first = entries[0][0].time_us
    lines += [f"From {_moment(first)}; times in seconds.", ""]
    lines += [" " * _TIME + names.rstrip(), " " * _TIME + addresses.rstrip()]
    for number, (message, index) in enumerate(entries, start=1):
        rungs = _rungs(message, len(places), order)
        notes = [
            message.transport if message.transport != "udp" else "",
            _letter(index) if len(legs) > 1 else "",
        ]
        passed = f"{(message.time_us - first) / 1_000_000:+.6f}"
        lines.append(f"{number:>3} {passed:<{_TIME - 4}}{rungs} {' '.join(filter(None, notes))}".rstrip())
    if texts:
        for number, (message, _) in enumerate(entries, start=1):
            lines += [
                "",
                f"--- {number}  {_moment(message.time_us)}  {_from(message)} -> {_to(message)} ({message.transport})",
            ]
            lines += [_printable(line) for line in message.text.split("\n")]
    return "\n".join(lines) + "\n"


def _heading(legs: Sequence[Leg]) -> list[str]:
    lines = []
    for index, leg in enumerate(legs):
        mark = f"{_letter(index)}: " if len(legs) > 1 else ""
        lost = f", {leg.dropped} more were not kept" if leg.dropped else ""
        parties = f"{_printable(leg.source) or '-'} -> {_printable(leg.destination) or '-'}"
        call_id = _printable(leg.sip_call_id) or "-"
        lines.append(f"{mark}{leg.direction} call {leg.call_id}  {parties}  Call-ID {call_id}{lost}")
    return lines


def _letter(index: int) -> str:
    return chr(ord("A") + index % 26)


def _places(legs: Sequence[Leg]) -> list[_Place]:
    """Callers from outside, Kamailio, Asterisk, whoever is called outside. Where nothing tells them apart by name,
    their addresses do.
    """
    callers: dict[str, str] = {}
    kamailio: dict[str, str] = {}
    asterisk: dict[str, str] = {}
    called: dict[str, str] = {}
    for leg in legs:
        incoming = leg.direction == "incoming"
        for message in leg.messages:
            sent = message.direction == "out"
            kamailio.setdefault(_from(message) if sent else _to(message), KAMAILIO)
            other = _to(message) if sent else _from(message)
            if (message.side == "callee") == incoming:
                asterisk.setdefault(other, ASTERISK)
            elif incoming:
                callers.setdefault(other, leg.party)
            else:
                called.setdefault(other, leg.party)
    places: dict[str, _Place] = {}
    for group in (callers, kamailio, asterisk, called):
        for address, name in group.items():
            places.setdefault(address, _Place(name, address))
    return list(places.values())


def _rungs(message: Message, count: int, order: dict[str, int]) -> str:
    """``|   |--- INVITE -->|``: the arrow runs from column to column."""
    start, end = order[_from(message)], order[_to(message)]
    left, right = min(start, end), max(start, end)
    cells = []
    for column in range(count):
        if column < left or column >= right:
            cells.append("|" if column == count - 1 else "|" + " " * (WIDTH - 1))
        elif column == left:
            room = (right - left) * WIDTH - 1
            label = f" {_printable(message.summary)[: room - 8]} "
            arrow = label.center(room - 1, "-")
            cells.append("|" + (arrow + ">" if start == left else "<" + arrow))
    return "".join(cells)


def _from(message: Message) -> str:
    return endpoint(message.source, message.source_port)


def _to(message: Message) -> str:
    return endpoint(message.destination, message.destination_port)


def _moment(time_us: int) -> str:
    seconds, microseconds = divmod(time_us, 1_000_000)
    return (
        datetime.fromtimestamp(seconds, UTC)
        .replace(microsecond=microseconds)
        .strftime("%Y-%m-%d %H:%M:%S.%fZ")
    )


def _printable(text: str) -> str:
    """Text of strangers: nothing that a terminal would obey."""
    return "".join(sign if sign.isprintable() else "?" for sign in text.rstrip("\r"))
