"""``calls.jsonl``: one JSON line for each call that the carrier answered or refused."""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from ringline.sandbox.ua.address import Malformed, NameAddr, Uri
from ringline.sandbox.ua.message import Request

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Record:
    """A call as it is written down. Times are ISO 8601 in UTC, ``None`` for what never happened."""

    number: str
    from_uri: str
    from_display: str
    privacy: str
    p_asserted_identity: str
    sip_call_id: str
    dtmf: str
    tm_start: str
    tm_answer: str | None = None
    tm_end: str | None = None
    recording: str | None = None

    @classmethod
    def of(cls, request: Request) -> Record:
        """What an INVITE says about its call, at the present time."""
        sender = NameAddr.parse(request.get("from"))
        return cls(
            number=dialled(request),
            from_uri=sender.uri,
            from_display=sender.display,
            privacy=", ".join(request.all("privacy")),
            p_asserted_identity=", ".join(request.all("p-asserted-identity")),
            sip_call_id=request.get("call-id"),
            dtmf="",
            tm_start=now(),
        )

    def to_line(self) -> bytes:
        """The line with its end. Only ASCII: some readers take U+2028 and U+0085 for the end of a line."""
        return json.dumps(asdict(self)).encode() + b"\n"


def now() -> str:
    """The present as ISO 8601 in UTC with microseconds."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def dialled(request: Request) -> str:
    """The user part of the request URI, unescaped; ``""`` where it has none."""
    try:
        return Uri.parse(request.uri).user
    except Malformed:
        return ""


class Journal:
    """Appends lines. A file that grows past ``max_bytes`` becomes ``calls.jsonl.1``, replacing the one before."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.lines = 0
        self.failures = 0
        self._max_bytes = max_bytes

    def append(self, record: Record) -> None:
        """Write a record in a single write. A full disk is logged: a call does not fail because of its record."""
        line = record.to_line()
        try:
            # Opened for each line: who clears or removes the file between two tests finds the next line in it.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError("short write")
                full = os.fstat(descriptor).st_size > self._max_bytes
            finally:
                os.close(descriptor)
            if full:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        except OSError as error:
            self.failures += 1
            log.error("carrier_journal_failed", path=str(self.path), error=str(error))
        else:
            self.lines += 1
