"""The webhook of one flow in execution: told of that flow and its calls, besides the customer's endpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ringline.errors import InvalidArgument
from ringline.flows.check import UrlCheck

FlowWebhookUri = Annotated[
    str,
    Field(
        max_length=2048,
        description="Is sent the events of this call and its flow (`docs/webhooks.md`), besides your webhooks; signed"
        " with the secret of the webhook of type `activeflow` that GET /v1.0/webhooks then lists.",
    ),
]
FlowWebhookMethod = Literal["", "POST", "GET", "PUT", "DELETE"]


def flow_webhook(uri: str, method: str, check_url: UrlCheck | None) -> tuple[str, str]:
    """Address and method, both empty where there is none. Raises ``InvalidArgument``."""
    if not uri:
        return "", ""
    if check_url is not None:
        try:
            check_url(uri)
        except InvalidArgument as error:
            raise InvalidArgument(
                f"`webhook_uri`: {error.message}",
                details=[{"field": "webhook_uri", "message": error.message}],
            ) from None
    return uri, method or "POST"
