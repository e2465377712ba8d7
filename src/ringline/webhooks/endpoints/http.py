"""The routes of endpoints."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ringline.errors import FailedPrecondition, InvalidArgument
from ringline.events import catalogue
from ringline.http import Page, Request, Resource, Route, page_of
from ringline.webhooks.endpoints.models import (
    SecretRotation,
    WebhookAnswer,
    WebhookChange,
    WebhookCreate,
    WebhookQuery,
    WebhookSecretAnswer,
)
from ringline.webhooks.endpoints.service import WebhookLimitReached, WebhookNotFound, WebhookService

WEBHOOKS = Resource(
    "/v1.0/webhooks", "webhook_id", WebhookAnswer, WebhookNotFound, "webhooks", writing="admin"
)


def webhook_routes(service: WebhookService) -> list[Route]:
    """Endpoints: made, listed, changed, given new secrets."""

    async def page(request: Request[None, WebhookQuery]) -> Page[WebhookAnswer]:
        return page_of(await service.page(request.customer_id, request.query), request.query, service.shown)

    async def get(request: Request) -> WebhookAnswer:
        return service.shown(await service.get(request.customer_id, request.path["webhook_id"]))

    async def create(request: Request[WebhookCreate]) -> WebhookSecretAnswer:
        _check_names(request.body)
        return service.with_secret(await service.create(request.customer_id, request.body))

    async def update(request: Request[WebhookChange]) -> WebhookAnswer:
        _check_names(request.body)
        path = request.path
        return service.shown(await service.update(request.customer_id, path["webhook_id"], request.body))

    async def delete(request: Request) -> WebhookAnswer:
        return service.shown(await service.delete(request.customer_id, request.path["webhook_id"]))

    async def rotate(request: Request[SecretRotation]) -> WebhookSecretAnswer:
        path = request.path
        return service.with_secret(
            await service.rotate(request.customer_id, path["webhook_id"], request.body)
        )

    return [
        WEBHOOKS.list(
            page,
            "List webhooks",
            WebhookQuery,
            description="Newest first, the customer's own `webhook_uri` among them. Secrets are shown only when they"
            " are made; here it is `secret_prefix`.",
        ),
        WEBHOOKS.create(
            create,
            "Make a webhook",
            WebhookCreate,
            description="From now on the events that it names are sent to `uri`, signed as Standard Webhooks with the"
            " `secret` of the answer, which is not shown again. How it is sent, repeated and checked:"
            " `docs/webhooks.md`.",
            body_examples={
                "calls": {"uri": "https://example.com/events", "events": ["call_*"]},
                "all": {"name": "warehouse", "uri": "https://example.com/all"},
            },
            # the answer would be kept, and the secret with it
            idempotent=False,
            response=WebhookSecretAnswer,
            errors=(WebhookLimitReached,),
        ),
        WEBHOOKS.get(
            get,
            "Read a webhook",
            description="The one with your customer's id is that of `PUT /v1.0/customer`; its `uri` is empty where"
            " there is none.",
        ),
        WEBHOOKS.update(
            update,
            "Change a webhook",
            WebhookChange,
            description="Fields that are left out stay as they are. Where the customer's own goes is said by"
            " `PUT /v1.0/customer` (409 here).",
            errors=(FailedPrecondition,),
        ),
        WEBHOOKS.delete(
            delete,
            "Delete a webhook",
            description="Nothing more is sent there; what has not arrived fails.",
            errors=(FailedPrecondition,),
        ),
        WEBHOOKS.act(
            "POST",
            "rotate_secret",
            rotate,
            "Change the secret of a webhook",
            body=SecretRotation,
            body_optional=True,
            response=WebhookSecretAnswer,
            description="The new secret is in the answer and is not shown again. The old one signs as well while"
            " `overlap` lasts, so that receivers may be changed one after the other.",
            body_examples={"a day": {}, "at once": {"overlap": 0}},
        ),
    ]


def _check_names(wanted: WebhookCreate | WebhookChange) -> None:
    """Refuse a filter that lets nothing through: it is a slip, and its author would wait for ever."""
    for index, pattern in enumerate(wanted.events):
        if not any(fnmatchcase(name, pattern) for name in catalogue.TYPES):
            raise _unknown(f"events.{index}", f"no event is called {pattern}; docs/events.md lists them all")
    for index, word in enumerate(wanted.resources):
        if word not in catalogue.BY_RESOURCE:
            known = ", ".join(catalogue.BY_RESOURCE)
            raise _unknown(f"resources.{index}", f"there are no events of {word}, but of {known}")


def _unknown(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(f"`{field}`: {message}.", details=[{"field": field, "message": message}])
