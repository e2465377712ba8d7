"""The routes of tags."""

from __future__ import annotations

from ringline.customers.tags.models import TagAnswer, TagChange, TagCreate
from ringline.customers.tags.service import TagInUse, TagNotFound, TagService
from ringline.http import Page, PageQuery, Request, Resource, Route, page_of

_TAGS = Resource("/v1.0/tags", "tag_id", TagAnswer, TagNotFound, "tags", writing="admin")


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

    return [
        _TAGS.list(page, "List tags"),
        _TAGS.create(create, "Make a tag", TagCreate, body_examples={"language": {"name": "english"}}),
        _TAGS.get(get, "Read a tag"),
        _TAGS.update(
            update, "Change a tag", TagChange, description="Fields that are left out stay as they are."
        ),
        _TAGS.delete(
            delete,
            "Delete a tag",
            description="Agents lose it. While a queue asks for it, it cannot be deleted (409 `TAG_IN_USE`).",
            errors=(TagInUse,),
        ),
    ]
