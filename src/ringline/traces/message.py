"""One SIP message of a trace, and what can be read from it without trusting it."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import orjson

Direction = Literal["in", "out"]
Side = Literal["caller", "callee"]

MAX_SHOWN_LINE = 200
_STATUS = re.compile(rb"SIP/2\.0[ \t]+([1-6][0-9]{2})(?:[ \t]+([^\r\n]*))?")
_REQUEST = re.compile(rb"([A-Z]{1,20})[ \t]+([^\s]+)[ \t]+SIP/2\.0")
_TAG = re.compile(r";[ \t]*tag[ \t]*=[ \t]*([^;,\s]+)", re.IGNORECASE)
_COUNT = struct.Struct("!I")
MAX_INFLATED = 16 * 1024 * 1024


@dataclass
class Message:
    """As it was on the wire at Kamailio, apart from what was removed. Not to be changed, and not frozen, which would
    double what it costs to make one.

    ``direction``: whether Kamailio received (``in``) or sent (``out``) it. ``side``: between which of the two parties
    of the dialog and Kamailio it went. ``length``: bytes on the wire; ``raw`` may have fewer.
    """

    time_us: int
    direction: Direction
    side: Side
    transport: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    length: int
    raw: bytes

    @cached_property
    def status(self) -> int:
        """The status of a reply, 0 for a request."""
        match = _STATUS.match(self.raw)
        return int(match[1]) if match else 0

    @cached_property
    def reason(self) -> str:
        match = _STATUS.match(self.raw)
        return _shown(match[2] or b"") if match else ""

    @cached_property
    def method(self) -> str:
        """Of the request, or of the request that a reply belongs to."""
        return method(self.raw)

    @property
    def cseq(self) -> int:
        words = self.header("CSeq").split()
        return int(words[0]) if words and words[0].isdecimal() and len(words[0]) < 11 else 0

    @property
    def summary(self) -> str:
        """``INVITE``, ``180 Ringing``; with the SDP where there is one."""
        name = f"{self.status} {self.reason}".strip() if self.status else self.method or "?"
        return f"{name} (SDP)" if b"\r\n\r\nv=0" in self.raw else name

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")

    def header(self, name: str, compact: str = "") -> str:
        """The first value of a header, '' where there is none."""
        return header(self.raw, name, compact)


def method(raw: bytes) -> str:
    """The method of a request, or of the request that a reply belongs to; '' of what is no SIP."""
    if not raw.startswith(b"SIP/2.0"):
        match = _REQUEST.match(raw)
        if match:
            return match[1].decode()
    cseq = header(raw, "CSeq").split()
    return cseq[1][:20] if len(cseq) > 1 else ""


def header(raw: bytes, name: str, compact: str = "") -> str:
    """The first value of a header, '' where there is none. Folded lines are not joined: nobody sends them."""
    # nearly everybody writes it so, and to look for bytes costs a tenth of an expression
    wanted = _written(name)
    start = raw.find(wanted)
    if start > 0:
        end = raw.find(b"\r\n", start)
        if start < end <= raw.find(b"\r\n\r\n"):
            return _text(raw[start + len(wanted) : end])
    match = _pattern(name, compact).search(raw)
    # a body may look like a header
    if match is None or match.start() > raw.find(b"\r\n\r\n") >= 0:
        return ""
    return _text(match[1])


@cache
def _written(name: str) -> bytes:
    return b"\n%b: " % name.encode()


@cache
def _pattern(name: str, compact: str) -> re.Pattern[bytes]:
    names = f"(?:{name}|{compact})" if compact else name
    return re.compile(rb"\r?\n" + names.encode() + rb"[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)


def tag(value: str) -> str:
    """The tag of a From or To value."""
    usual = value.rpartition(">;tag=")[2]
    if usual.isalnum() and len(usual) < len(value):
        return usual
    match = _TAG.search(value.rpartition(">")[2] or value)
    return match[1] if match else ""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip()


def _shown(value: bytes) -> str:
    return "".join(sign for sign in _text(value)[:MAX_SHOWN_LINE] if sign.isprintable())


def pack(messages: Sequence[Message]) -> bytes:
    """Messages as they are stored: zlib over an index in JSON and the raw messages behind it."""
    index = orjson.dumps(
        [
            [
                one.time_us,
                one.direction,
                one.side,
                one.transport,
                one.source,
                one.source_port,
                one.destination,
                one.destination_port,
                one.length,
                len(one.raw),
            ]
            for one in messages
        ]
    )
    return zlib.compress(b"".join([_COUNT.pack(len(index)), index, *(one.raw for one in messages)]), level=1)


def unpack(data: bytes) -> list[Message]:
    """What ``pack`` made. Raises ``ValueError`` for what it did not make."""
    try:
        plain = zlib.decompressobj().decompress(data, MAX_INFLATED)
        (size,) = _COUNT.unpack_from(plain)
        offset = _COUNT.size + size
        messages = []
        for entry in orjson.loads(plain[_COUNT.size : offset]):
            length = entry[-1]
            entry[-1] = plain[offset : offset + length]
            messages.append(Message(*entry))
            offset += length
    except (zlib.error, struct.error, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"no stored trace: {error}") from error
    return messages
