"""SIP requests and responses: reading them from a datagram and writing them to one (RFC 3261 section 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ringline.sandbox.ua.address import Malformed, split_outside

MAX_BYTES = 65_535
MAX_HEADERS = 256

_COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
}
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_LISTS = {"via", "route", "record-route", "require", "proxy-require", "supported", "allow"}

REASONS = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    415: "Unsupported Media Type",
    420: "Bad Extension",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    483: "Too Many Hops",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    503: "Service Unavailable",
    603: "Decline",
}


@dataclass(slots=True)
class Message:
    """Headers in the order received, names in lower case and long form, continuation lines joined."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def get(self, name: str, default: str = "") -> str:
        """The first value of a header as received."""
        for key, value in self.headers:
            if key == name:
                return value
        return default

    def all(self, name: str) -> list[str]:
        """Every value of a header; list headers are taken apart at their commas."""
        values = [value for key, value in self.headers if key == name]
        if name in _LISTS:
            return [item for value in values for item in split_outside(value, ",") if item]
        return values

    def add(self, name: str, value: str) -> None:
        """Append a header. Line ends in a value would make a header of their own: they become spaces."""
        self.headers.append((name.lower(), re.sub(r"[\r\n\0]+", " ", value)))

    @property
    def cseq(self) -> tuple[int, str]:
        """Number and method of CSeq."""
        number, _, method = self.get("cseq").partition(" ")
        if not number.isascii() or not number.isdigit() or int(number) >= 2**31 or not method.strip():
            raise Malformed(f"CSeq: {self.get('cseq')[:80]!r}")
        return int(number), method.strip().upper()

    def _serialise(self, start: str) -> bytes:
        lines = [start]
        lines += [f"{_written(name)}: {value}" for name, value in self.headers if name != "content-length"]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode("utf-8", "replace") + self.body


@dataclass(slots=True)
class Request(Message):
    """A SIP request."""

    method: str = ""
    uri: str = ""

    def to_bytes(self) -> bytes:
        """The datagram."""
        return self._serialise(f"{self.method} {self.uri} SIP/2.0")

    def response(self, status: int, reason: str = "", *, tag: str = "") -> Response:
        """A response to this request with what RFC 3261 section 8.2.6 copies, and our tag in To."""
        reply = Response(status=status, reason=reason or REASONS.get(status, "Unknown"))
        for name, value in self.headers:
            if name in ("via", "from", "call-id", "cseq") or (name == "record-route" and 100 < status < 300):
                reply.headers.append((name, value))
            elif name == "to":
                has_tag = re.search(r";\s*tag\s*=", value.rpartition(">")[2], re.IGNORECASE)
                reply.headers.append(
                    (name, value if has_tag or not tag or status == 100 else f"{value};tag={tag}")
                )
        return reply


@dataclass(slots=True)
class Response(Message):
    """A SIP response."""

    status: int = 0
    reason: str = ""

    def to_bytes(self) -> bytes:
        """The datagram."""
        return self._serialise(f"SIP/2.0 {self.status} {self.reason}")


def _written(name: str) -> str:
    """The usual spelling: ``call-id`` becomes ``Call-ID``."""
    special = {"call-id": "Call-ID", "cseq": "CSeq", "www-authenticate": "WWW-Authenticate"}
    return special.get(name) or "-".join(part.capitalize() for part in name.split("-"))


def parse(data: bytes) -> Request | Response | None:
    """Read a datagram: ``None`` for a keep-alive (only line ends), ``Malformed`` for what is not SIP."""
    data = data.lstrip(b"\r\n\0")
    if not data:
        return None
    if len(data) > MAX_BYTES:
        raise Malformed("message larger than a datagram")
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("utf-8", "replace").split("\r\n")
    message = _start(lines[0])
    message.headers = _headers(lines[1:])
    length = message.get("content-length").strip()
    if length:
        if not length.isascii() or not length.isdigit() or len(length) > 6 or int(length) > len(body):
            raise Malformed(f"Content-Length {length[:20]!r} with {len(body)} bytes of body")
        body = body[: int(length)]
    message.body = body
    return message


def _start(line: str) -> Request | Response:
    first, _, rest = line.partition(" ")
    if first.upper() == "SIP/2.0":
        status, _, reason = rest.partition(" ")
        if len(status) != 3 or not status.isascii() or not status.isdigit() or not 100 <= int(status) < 700:
            raise Malformed(f"status line: {line[:80]!r}")
        return Response(status=int(status), reason=reason)
    uri, _, version = rest.rpartition(" ")
    if version.upper() != "SIP/2.0" or not uri or " " in uri or _TOKEN.fullmatch(first) is None:
        raise Malformed(f"request line: {line[:80]!r}")
    return Request(method=first, uri=uri)


def _headers(lines: list[str]) -> list[tuple[str, str]]:
    if len(lines) > MAX_HEADERS:
        raise Malformed(f"more than {MAX_HEADERS} header lines")
    headers: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (" ", "\t") and headers:
            name, value = headers[-1]
            headers[-1] = (name, f"{value} {line.strip()}".strip())
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or _TOKEN.fullmatch(name) is None:
            raise Malformed(f"header line: {line[:80]!r}")
        headers.append((_COMPACT.get(name, name), value.strip()))
    return headers
