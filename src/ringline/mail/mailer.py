"""Letters leave in the background: whoever writes one waits for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Final, Protocol

import structlog
from prometheus_client import Counter

from ringline.log import Verbatim
from ringline.mail.letter import Letter
from ringline.mail.server import MailRefused
from ringline.metrics import registry

log = structlog.get_logger(__name__)

letters = Counter("ringline_mail_total", "Letters, by what became of them.", ("result",), registry=registry)

MOST: Final = 1000
"""Letters that wait or are under way; with one more it is dropped, and the log says so."""
AT_ONCE: Final = 4
RETRY_SECONDS: Final = (5.0, 30.0, 120.0, 600.0, 1800.0)
"""The pauses before a letter is tried again that the server could not take now."""
LONGEST_SECONDS: Final = 120.0
"""For one try, all of its steps together."""
_CLOSE_SECONDS: Final = 5.0


class Server(Protocol):
    """``MailServer``."""

    async def hand_over(self, message: EmailMessage) -> None: ...


class Mailer:
    """Sends letters from ``sender`` through ``server``; without one they are printed in the log, links and all.

    What waits is in memory: letters are lost with the process, and whoever waits for one asks for another.
    """

    def __init__(
        self,
        server: Server | None,
        sender: str,
        *,
        retries: Sequence[float] = RETRY_SECONDS,
        most: int = MOST,
    ) -> None:
        self._server = server
        self._sender = sender
        self._retries = retries
        self._most = most
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def depth(self) -> int:
        """Letters that wait or are under way."""
        return len(self._tasks)

    def post(self, letter: Letter) -> None:
        """Take a letter over and return at once. Raises ``ValueError`` for one that cannot be sent."""
        message = letter.message(self._sender)
        if self._server is None:
            letters.labels("printed").inc()
            log.info("mail", to=letter.to, subject=letter.subject, text=Verbatim(letter.text))
            return
        if self._closed or len(self._tasks) >= self._most:
            letters.labels("dropped").inc()
            log.warning("mail_dropped", subject=letter.subject, waiting=len(self._tasks))
            return
        task = asyncio.create_task(self._send(self._server, letter, message), name="mail")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give what is under way a moment, and drop the rest."""
        self._closed = True
        if not self._tasks:
            return
        await asyncio.wait(set(self._tasks), timeout=_CLOSE_SECONDS)
        left = set(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if left:
            log.warning("mail_lost", letters=len(left))

    async def _send(self, server: Server, letter: Letter, message: EmailMessage) -> None:
        for pause in (*self._retries, None):
            try:
                await self._try(server, message)
            except MailRefused as refused:
                if refused.lasting or pause is None:
                    letters.labels("failed").inc()
                    log.error("mail_failed", subject=letter.subject, to=letter.to, why=str(refused))
                    return
                letters.labels("again").inc()
                log.warning("mail_again", subject=letter.subject, why=str(refused), seconds=pause)
                await asyncio.sleep(pause)
            else:
                letters.labels("sent").inc()
                log.info("mail_sent", subject=letter.subject, to=letter.to)
                return

    async def _try(self, server: Server, message: EmailMessage) -> None:
        async with self._places:
            try:
                async with asyncio.timeout(LONGEST_SECONDS):
                    await server.hand_over(message)
            except TimeoutError as late:
                raise MailRefused(f"no answer within {LONGEST_SECONDS:g} s", lasting=False) from late
