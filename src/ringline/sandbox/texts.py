"""Texts and the simulated handsets that get and send them: what a handset does is fixed by its last four digits."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from ringline.sandbox import parts
from ringline.sandbox.hooks import Hooks
from ringline.sandbox.journal import now
from ringline.sandbox.orders import Orders, Refused
from ringline.sandbox.shelf import Row, Shelf

log = structlog.get_logger(__name__)

TEXTS: Final = "texts"
MOST: Final = 5_000
SENT_SECONDS: Final = 0.05
DELIVERED_SECONDS: Final = 0.25
LATE_SECONDS: Final = 5.0
REPLY_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Handset:
    """What a handset does with a text.

    ``fails``: code and words of a report that it was not delivered. ``refused``: the request is refused with them.
    ``report``: seconds until the report of delivery, ``None`` for never. ``reply``: what it texts back, ``ECHO`` the
    same. ``before``: HTTP status of the first try. ``answer`` and ``hooks`` as in ``orders.Magic``.
    """

    fails: tuple[str, str] | None = None
    refused: tuple[str, str] | None = None
    report: float | None = DELIVERED_SECONDS
    reply: str = ""
    before: int = 0
    answer: str = "created"
    hook_first: bool = False
    hooks: int = 1


ECHO: Final = "\0echo"

HANDSETS: Final[dict[str, Handset]] = {
    "0001": Handset(fails=("unreachable", "The handset cannot be reached.")),
    "0002": Handset(report=None),
    "0003": Handset(fails=("blocked", "The carrier took it for unwanted.")),
    "0004": Handset(refused=("cannot_receive", "This number cannot get texts.")),
    "0005": Handset(answer="error"),
    "0006": Handset(report=LATE_SECONDS),
    "0007": Handset(before=429),
    "0008": Handset(reply=ECHO),
    "0009": Handset(reply="STOP"),
    "0010": Handset(reply="HELP"),
    "0011": Handset(reply="START"),
    "0012": Handset(hooks=2),
    "0013": Handset(hook_first=True),
    "0014": Handset(answer="cut"),
}
_ORDINARY: Final = Handset()


def handset(number: str) -> Handset:
    """What the handset of this number does."""
    return HANDSETS.get(number[-4:], _ORDINARY)


class Texts:
    """Texts to handsets and from them; every one is a line of ``messages.jsonl``."""

    def __init__(self, shelf: Shelf, hooks: Hooks, orders: Orders, path: Path, max_bytes: int) -> None:
        self.failures = 0
        self._shelf = shelf
        self._hooks = hooks
        self._orders = orders
        self._path = path
        self._max_bytes = max_bytes
        self._references: dict[str, str] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._stumbled: set[str] = set()

    def start(self) -> None:
        """Go on with the texts that a former process had on their way."""
        for row in self._shelf.table(TEXTS).values():
            if row["direction"] == "to_handset":
                self._references[row["client_reference"]] = row["id"]
                if row["status"] in {"sending", "sent"}:
                    self._travel(row["id"])

    def close(self) -> None:
        """Deliver nothing any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def send(
        self, client_reference: str, source: str, to: str, text: str, media: list[str]
    ) -> tuple[Row, bool]:
        """A text for a handset; and whether it is new. The same reference gives the same text. Raises ``Refused``."""
        known = self._references.get(client_reference)
        if known is not None:
            return self._shelf.table(TEXTS)[known], False
        does = handset(to)
        if does.before and client_reference not in self._stumbled:
            self._stumbled.add(client_reference)
            raise Refused(does.before, "try_again", "Not now.")
        if does.refused:
            raise Refused(422, *does.refused)
        row = self._row("to_handset", source, to, text, media)
        row |= {"client_reference": client_reference, "status": "sending", "reason": ""}
        self._references[client_reference] = row["id"]
        self._keep(row)
        if does.hook_first:
            self._move(row["id"], "delivered")
        else:
            self._travel(row["id"])
        return self._shelf.table(TEXTS)[row["id"]], True

    def receive(self, source: str, to: str, text: str, media: list[str]) -> Row:
        """A handset texts a number of the carrier's customer. Raises ``Refused``."""
        held = self._orders.held_numbers(to)
        if held and not held[0]["messaging"]:
            raise Refused(409, "no_messaging", f"{to} is not set up for texts.")
        row = self._row("from_handset", source, to, text, media)
        self._keep(row)
        data = {name: row[name] for name in ("id", "from", "to", "text", "parts")}
        data["media"] = [{"url": url, "content_type": content_type(url)} for url in media]
        self._hooks.send("text.received", data)
        return row

    def by_id(self, text_id: str) -> Row | None:
        """The text of this id."""
        return self._shelf.table(TEXTS).get(text_id)

    def by_reference(self, client_reference: str) -> Row | None:
        """The text of this client reference."""
        text_id = self._references.get(client_reference)
        return None if text_id is None else self.by_id(text_id)

    def of(self, number: str = "", limit: int = 100) -> list[Row]:
        """What handsets got (all, or that of one number), oldest first; the last ``limit`` of it."""
        found = [
            row
            for row in self._shelf.table(TEXTS).values()
            if row["direction"] == "to_handset"
            and row["status"] not in {"failed"}
            and number in ("", row["to"])
        ]
        return found[-limit:]

    def _row(self, direction: str, source: str, to: str, text: str, media: list[str]) -> Row:
        row: dict[str, Any] = {
            "id": f"txt_{secrets.token_hex(12)}",
            "direction": direction,
            "from": source,
            "to": to,
            "text": text,
            "media": media,
            "parts": 1 if media else parts.count(text),
            "tm": now(),
        }
        self._write(row)
        return row

    def _travel(self, text_id: str) -> None:
        row = self._shelf.table(TEXTS)[text_id]
        does = handset(row["to"])
        if does.fails:
            self._later(DELIVERED_SECONDS, text_id, "failed")
            return
        self._later(SENT_SECONDS, text_id, "sent")
        if does.report is not None:
            self._later(does.report, text_id, "delivered")

    def _later(self, seconds: float, text_id: str, status: str) -> None:
        def act() -> None:
            self._timers.discard(timer)
            self._move(text_id, status)

        timer = asyncio.get_running_loop().call_later(seconds, act)
        self._timers.add(timer)

    def _move(self, text_id: str, status: str) -> None:
        row = self._shelf.table(TEXTS).get(text_id)
        if row is None or row["status"] in {status, "delivered", "failed"}:
            return
        does = handset(row["to"])
        reason = ": ".join(does.fails) if does.fails and status == "failed" else ""
        row = {**row, "status": status, "reason": reason}
        self._shelf.put(TEXTS, text_id, row)
        final = status in {"delivered", "failed"}
        self._hooks.send("text.updated", row, times=does.hooks if final else 1)
        if status == "delivered" and does.reply:
            answer = row["text"] if does.reply == ECHO else does.reply
            media = row["media"] if does.reply == ECHO else []
            self._answer(row["to"], row["from"], answer, media)

    def _answer(self, source: str, to: str, text: str, media: list[str]) -> None:
        def act() -> None:
            self._timers.discard(timer)
            try:
                self.receive(source, to, text, media)
            except Refused as refused:
                log.info("carrier_reply_not_sent", to=to, why=refused.message)

        timer = asyncio.get_running_loop().call_later(REPLY_SECONDS, act)
        self._timers.add(timer)

    def _keep(self, row: Row) -> None:
        texts = self._shelf.table(TEXTS)
        self._shelf.put(TEXTS, row["id"], row)
        if len(texts) > MOST:
            oldest = next(iter(texts.values()))
            self._references.pop(oldest.get("client_reference", ""), None)
            self._shelf.drop(TEXTS, oldest["id"])

    def _write(self, row: Row) -> None:
        line = json.dumps(row).encode() + b"\n"
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(descriptor, line)
                full = os.fstat(descriptor).st_size > self._max_bytes
            finally:
                os.close(descriptor)
            if full:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        except OSError as error:
            self.failures += 1
            log.error("carrier_journal_failed", path=str(self._path), error=str(error))


def content_type(url: str) -> str:
    """What the ending of a URL's path says of its content."""
    return mimetypes.guess_type(urlsplit(url).path)[0] or "application/octet-stream"
