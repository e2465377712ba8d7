"""Asking a customer's server for actions, on behalf of the action ``fetch``."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import Field

from ringline.calls import models
from ringline.errors import InvalidArgument
from ringline.flows.actions import AnyAction
from ringline.flows.actions.services import FetchRequest, Webhook
from ringline.flows.check import MAX_ACTIONS, LanguageCheck, UrlCheck, checked
from ringline.flows.engine import FlowError
from ringline.flows.snapshot import RawAction
from ringline.http import RequestModel
from ringline.http.body import validate
from ringline.media.address_guard import loggable
from ringline.webhooks.exchange import Answer, ExchangeFailed, Exchanges, Request

MAX_BYTES: Final = 256 * 1024
MAX_MESSAGE: Final = 300


class Fetched(RequestModel):
    """What a server answers; a bare array of actions means the same."""

    actions: list[AnyAction] = Field(max_length=MAX_ACTIONS)


class Fetcher:
    """Fetches lists of actions and checks them like a flow that is posted (``flows.actions.services.Fetches``)."""

    def __init__(
        self, exchanges: Exchanges, check_language: LanguageCheck, check_url: UrlCheck | None = None
    ) -> None:
        self._exchanges = exchanges
        self._check_language = check_language
        self._check_url = check_url

    async def fetch(self, request: FetchRequest) -> list[RawAction]:
        """The actions, ready to run. Raises ``FlowError`` with a reason that begins with ``FETCH_``."""
        answer = await self._ask(request)
        shown = loggable(request.url)
        if answer.status == 204:
            return []
        if not 200 <= answer.status < 300:
            raise FlowError("FETCH_STATUS", f"{shown} answered {answer.status}, not 200")
        outer = frozenset(UUID(action["id"]) for frame in request.around for action in frame)
        try:
            fetched = validate(_as_object(answer.body), Fetched)
            return checked(fetched.actions, self._check_language, self._check_url, outer=outer)
        except InvalidArgument as error:
            raise FlowError(
                "FETCH_INVALID", f"{shown} answered no list of actions: {error.message}"[:MAX_MESSAGE]
            ) from None

    async def _ask(self, request: FetchRequest) -> Answer:
        headers = {"Accept": "application/json", **own_headers(request)}
        body = None
        if request.method == "POST":
            headers["Content-Type"] = "application/json"
            body = orjson.dumps(document(request), default=str)
        try:
            return await self._exchanges.run(
                Request(request.customer_id, request.method, request.url, headers, body), max_bytes=MAX_BYTES
            )
        except ExchangeFailed as error:
            raise FlowError(f"FETCH_{error.reason}", error.message) from error


def own_headers(request: FetchRequest | Webhook) -> dict[str, str]:
    """Who asks; ``Webhook-Id`` is the same when the request is repeated after a restart."""
    headers = {
        "Webhook-Id": str(request.id),
        "X-Ringline-Customer-Id": str(request.customer_id),
        "X-Ringline-Activeflow-Id": str(request.activeflow_id),
    }
    if request.call is not None:
        headers["X-Ringline-Call-Id"] = str(request.call.id)
    return headers


def document(request: FetchRequest) -> dict[str, Any]:
    """What a POST carries: the flow, the call as ``GET /v1.0/calls/{id}`` shows it, and all variables."""
    call = request.call
    return {
        "id": str(request.id),
        "activeflow": {
            "id": str(request.activeflow_id),
            "customer_id": str(request.customer_id),
            **request.flow,
            "current_action": {"id": request.action["id"], "type": request.action["type"]},
        },
        "call": None if call is None else models.view(call, request.action).model_dump(mode="json"),
        "variables": request.variables,
    }


def _as_object(body: bytes) -> bytes:
    stripped = body.strip()
    return b'{"actions":' + stripped + b"}" if stripped.startswith(b"[") else stripped
