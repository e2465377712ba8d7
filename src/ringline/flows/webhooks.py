"""What the action ``webhook_send`` asks for, as requests to a customer's server."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from uuid import UUID

from ringline.calls.call import ActionFailure, Call
from ringline.clock import Clock
from ringline.flows.actions import ActionFailed
from ringline.flows.actions.services import Webhook
from ringline.webhooks.delivery import Delivery
from ringline.webhooks.exchange import Answer, ExchangeFailed, Exchanges, Request
from ringline.webhooks.sender import Sender

MAX_BODY_BYTES: Final = 16 * 1024
"""Of an answer's body, as the variable keeps it: it is stored with the flow at every step."""
_CHARSETS: Final = frozenset(
    {"utf-8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252", "utf-16"}
)
"""Python knows others that unpack what they decode."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class FlowWebhooks:
    """``flows.actions.services.Webhooks``."""

    def __init__(
        self, sender: Sender, exchanges: Exchanges, clock: Clock, touch: Callable[[Call], None]
    ) -> None:
        """``touch`` has a call stored after a failure was noted on it (``Journal.touch``)."""
        self._sender = sender
        self._exchanges = exchanges
        self._clock = clock
        self._touch = touch

    def post(self, webhook: Webhook) -> None:
        self._sender.post(
            Delivery(
                webhook.id, request(webhook), lambda reason, message: self._failed(webhook, reason, message)
            )
        )

    async def send(self, webhook: Webhook) -> tuple[int, str]:
        try:
            answer = await self._exchanges.run(request(webhook), max_bytes=MAX_BODY_BYTES, cut=True)
        except ExchangeFailed as error:
            raise ActionFailed(f"WEBHOOK_{error.reason}", error.message) from error
        return answer.status, text(answer)

    def _failed(self, webhook: Webhook, reason: str, message: str) -> None:
        """Note on the call, which may have ended meanwhile, that the webhook was given up."""
        call, action = webhook.call, webhook.action
        call.note_failure(
            ActionFailure(UUID(action["id"]), action["type"], reason, message[:500], self._clock.now())
        )
        self._touch(call)


def request(webhook: Webhook) -> Request:
    """The request; ``Webhook-Id`` lets the receiver tell a repetition from news."""
    headers = {
        "Webhook-Id": str(webhook.id),
        "X-Ringline-Customer-Id": str(webhook.call.customer_id),
        "X-Ringline-Activeflow-Id": str(webhook.activeflow_id),
        "X-Ringline-Call-Id": str(webhook.call.id),
    }
    body = None
    if webhook.method != "GET" and webhook.data:
        headers["Content-Type"] = webhook.content_type or "application/octet-stream"
        body = webhook.data.encode()
    return Request(webhook.call.customer_id, webhook.method, webhook.url, headers, body)


def text(answer: Answer) -> str:
    """A body as a variable's text: without what no column can hold, and within the limit."""
    charset = answer.charset.lower()
    decoded = answer.body.decode(
        charset if charset in _CHARSETS else "utf-8", "replace" if answer.whole else "ignore"
    )
    cleaned = _CONTROL.sub("", decoded).encode(errors="replace")
    return cleaned[:MAX_BODY_BYTES].decode(errors="ignore")
