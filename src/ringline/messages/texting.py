"""Texts that flows send: each once however often its action runs, and no two flows answer each other forever."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from ringline.clock import Clock
from ringline.errors import FailedPrecondition, ResourceExhausted
from ringline.messages import store
from ringline.messages.composing import Composer
from ringline.messages.records import ZERO
from ringline.messages.service import MessageService
from ringline.sip.address import Address
from ringline.storage import Database

MAX_HOPS: Final = 10
"""Flows that answer each other within this installation: the tenth answer is the last."""
PAIR_TEXTS: Final = 20
PAIR_SECONDS: Final = 60.0
"""Flows may send so many texts from one number to one handset within that time, whoever answers them there."""
_MAX_PAIRS: Final = 20_000


class FlowTexts:
    """``flows.actions.services.Texts``."""

    def __init__(
        self, database: Database, composer: Composer, messages: MessageService, clock: Clock
    ) -> None:
        self._database = database
        self._composer = composer
        self._messages = messages
        self._clock = clock
        self._recent: dict[tuple[str, str], deque[float]] = {}

    async def send(
        self,
        message_id: UUID,
        customer_id: UUID,
        *,
        source: Address,
        destinations: Sequence[Address],
        text: str,
        activeflow_id: UUID,
        answers: UUID = ZERO,
    ) -> None:
        """Send what a flow wants sent; ``answers`` is the message that the flow runs for.

        A ``message_id`` that was used sends nothing again. Raises ``RinglineError``: what ``Composer.draft`` does,
        ``FailedPrecondition`` where flows answer each other, ``ResourceExhausted`` for too many texts.
        """
        hops = 0
        async with self._database.connect() as connection:
            if await store.exists(connection, customer_id, message_id):
                return
            if answers != ZERO:
                hops = 1 + await store.hops_of(connection, customer_id, answers)
        if hops > MAX_HOPS:
            raise FailedPrecondition(
                f"flows of texts have answered each other {MAX_HOPS} times; that looks like a loop",
                reason="MESSAGE_LOOP",
            )
        draft = self._composer.draft(
            customer_id,
            message_id,
            source=source,
            destinations=destinations,
            text=text,
            activeflow_id=activeflow_id,
            hops=hops,
        )
        for address in draft.destinations:
            self._count(draft.source.number, address.target)
        await self._messages.store(draft)

    def _count(self, source: str, destination: str) -> None:
        now = self._clock.monotonic()
        if len(self._recent) > _MAX_PAIRS:
            self._recent = {
                pair: sent for pair, sent in self._recent.items() if sent and sent[-1] > now - PAIR_SECONDS
            }
        sent = self._recent.setdefault((source, destination), deque())
        while sent and sent[0] <= now - PAIR_SECONDS:
            sent.popleft()
        if len(sent) >= PAIR_TEXTS:
            raise ResourceExhausted(
                f"flows have sent {PAIR_TEXTS} texts from {source} to {destination} within {PAIR_SECONDS:g} s; that"
                " looks like a loop",
                reason="MESSAGE_LOOP",
            )
        sent.append(now)
