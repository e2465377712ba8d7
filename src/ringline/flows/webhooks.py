"""What the action ``webhook_send`` asks for, as requests to a customer's server."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from ringline.calls.notes import FailureNotes
from ringline.flows.actions import ActionFailed
from ringline.flows.actions.services import Webhook
from ringline.flows.fetching import own_headers
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

    def __init__(self, sender: Sender, exchanges: Exchanges, notes: FailureNotes) -> None:
        self._sender = sender
        self._exchanges = exchanges
        self._notes = notes

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
        if webhook.call is not None:
            self._notes.failed(
                webhook.call, UUID(webhook.action["id"]), webhook.action["type"], reason, message
            )


def request(webhook: Webhook) -> Request:
    """The request; ``Webhook-Id`` lets the receiver tell a repetition from news."""
    headers = own_headers(webhook)
    body = None
    if webhook.method != "GET" and webhook.data:
        headers["Content-Type"] = webhook.content_type or "application/octet-stream"
        body = webhook.data.encode()
    return Request(webhook.customer_id, webhook.method, webhook.url, headers, body)


def text(answer: Answer) -> str:
    """A body as a variable's text: without what no column can hold, and within the limit."""
    charset = answer.charset.lower()
    decoded = answer.body.decode(
        charset if charset in _CHARSETS else "utf-8", "replace" if answer.whole else "ignore"
    )
    cleaned = _CONTROL.sub("", decoded).encode(errors="replace")
    return cleaned[:MAX_BODY_BYTES].decode(errors="ignore")
