"""The routes of tags."""

from __future__ import annotations

from ringline.customers.tags.models import TagAnswer, TagChange, TagCreate
from ringline.customers.tags.service import TagInUse, TagNotFound, TagService
from ringline.http import Page, PageQuery, Request, Route, page_of

_ONE = "/v1.0/tags/{tag_id}"


def tag_routes(service: TagService) -> list[Route]:
    """Tags of agents and queues; only admins change them."""

    async def page(request: Request[None, PageQuery]) -> Page[TagAnswer]:
        rows = await service.page(request.customer_id, request.query)
        return page_of(rows, request.query, TagAnswer.model_validate)

    async def get(request: Request) -> TagAnswer:
        return TagAnswer.model_validate(await service.get(request.customer_id, request.path["tag_id"]))

    async def create(request: Request[TagCreate]) -> TagAnswer:
        return TagAnswer.model_validate(await service.create(request.customer_id, request.body))

    async def update(request: Request[TagChange]) -> TagAnswer:
        row = await service.update(request.customer_id, request.path["tag_id"], request.body)
        return TagAnswer.model_validate(row)

    async def delete(request: Request) -> TagAnswer:
        return TagAnswer.model_validate(await service.delete(request.customer_id, request.path["tag_id"]))

    tags = ("tags",)
    return [
        Route(
            method="GET",
            path="/v1.0/tags",
            handler=page,
            summary="List tags",
            description="Newest first.",
            tags=tags,
            query=PageQuery,
            response=Page[TagAnswer],
        ),
        Route(
            method="POST",
            path="/v1.0/tags",
            handler=create,
            summary="Make a tag",
            tags=tags,
            auth="admin",
            body=TagCreate,
            response=TagAnswer,
            idempotent=True,
            body_examples={"language": {"name": "english"}},
        ),
        Route(
            method="GET",
            path=_ONE,
            handler=get,
            summary="Read a tag",
            tags=tags,
            response=TagAnswer,
            errors=(TagNotFound,),
        ),
        Route(
            method="PUT",
            path=_ONE,
            handler=update,
            summary="Change a tag",
            description="Fields that are left out stay as they are.",
            tags=tags,
            auth="admin",
            body=TagChange,
            response=TagAnswer,
            errors=(TagNotFound,),
        ),
        Route(
            method="DELETE",
            path=_ONE,
            handler=delete,
            summary="Delete a tag",
            description="Agents lose it. While a queue asks for it, it cannot be deleted (409 `TAG_IN_USE`).",
            tags=tags,
            auth="admin",
            response=TagAnswer,
            errors=(TagNotFound, TagInUse),
        ),
    ]
