"""The routes of trunks. All of them are for admins, as VoIPBIN has it."""

from __future__ import annotations

from ringline.billing.tiers import LimitReached
from ringline.errors import AlreadyExists
from ringline.extensions.trunks.models import TrunkAnswer, TrunkChange, TrunkCreate
from ringline.extensions.trunks.service import TrunkNotFound, TrunkService
from ringline.http import Page, PageQuery, Request, Resource, Route, page_of

_TRUNKS = Resource(
    "/v1.0/trunks", "trunk_id", TrunkAnswer, TrunkNotFound, "trunks", reading="admin", writing="admin"
)


def trunk_routes(service: TrunkService) -> list[Route]:
    """Trunks."""

    async def page(request: Request[None, PageQuery]) -> Page[TrunkAnswer]:
        rows = await service.page(request.customer_id, request.query)
        return page_of(rows, request.query, TrunkAnswer.model_validate)

    async def get(request: Request) -> TrunkAnswer:
        return TrunkAnswer.model_validate(await service.get(request.customer_id, request.path["trunk_id"]))

    async def create(request: Request[TrunkCreate]) -> TrunkAnswer:
        row = await service.create(request.customer_id, request.body, seed=request.idempotency_seed)
        return TrunkAnswer.model_validate(row)

    async def update(request: Request[TrunkChange]) -> TrunkAnswer:
        row = await service.update(request.customer_id, request.path["trunk_id"], request.body)
        return TrunkAnswer.model_validate(row)

    async def delete(request: Request) -> TrunkAnswer:
        return TrunkAnswer.model_validate(await service.delete(request.customer_id, request.path["trunk_id"]))

    return [
        _TRUNKS.list(page, "List trunks"),
        _TRUNKS.create(
            create,
            "Make a trunk",
            TrunkCreate,
            description="The telephone system sends its calls to `realm` from when this is answered. A "
            "`domain_name` that "
            "somebody has is 409 `ALREADY_EXISTS`. Providers, addresses of this installation and private addresses "
            "(without the operator's leave) are refused in `allowed_ips`.",
            body_examples={
                "digest": {
                    "domain_name": "acme-pbx",
                    "auth_types": ["basic"],
                    "username": "pbx",
                    "password": "correct horse 7",
                },
                "address": {"domain_name": "acme-pbx", "auth_types": ["ip"], "allowed_ips": ["198.51.100.7"]},
            },
            errors=(AlreadyExists, LimitReached),
        ),
        _TRUNKS.get(get, "Read a trunk"),
        _TRUNKS.update(
            update,
            "Change a trunk",
            TrunkChange,
            description="Fields that are left out stay as they are. A new `username` or `domain_name` needs the "
            "`password` "
            "with it, whose digest is bound to both. What an auth type needs is dropped with it.",
            body_examples={"addresses": {"allowed_ips": ["198.51.100.7", "198.51.100.8"]}},
            errors=(AlreadyExists,),
        ),
        _TRUNKS.delete(
            delete,
            "Delete a trunk",
            description="Its calls are refused when this is answered; calls that last go on.",
        ),
    ]
