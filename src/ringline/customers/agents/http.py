"""The routes of agents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

from ringline.customers.agents.models import (
    AddressesChange,
    AgentAnswer,
    AgentChange,
    AgentCreate,
    PasswordChange,
    PermissionChange,
    StatusChange,
    TagIdsChange,
)
from ringline.customers.agents.service import AgentNotFound, AgentService, LastAdmin, UsernameTaken
from ringline.errors import RinglineError
from ringline.http import Page, PageQuery, Request, Route, page_of

_ONE = "/v1.0/agents/{agent_id}"
_TAGS = ("agents",)
_OWN = "An admin changes any agent of the customer, an agent itself. "


def agent_routes(service: AgentService) -> list[Route]:
    """People who log in and are rung."""

    def view(row: Any) -> AgentAnswer:
        return AgentAnswer.model_validate(service.shown(row))

    async def page(request: Request[None, PageQuery]) -> Page[AgentAnswer]:
        return page_of(await service.page(request.customer_id, request.query), request.query, view)

    async def get(request: Request) -> AgentAnswer:
        return view(await service.get(request.customer_id, request.path["agent_id"]))

    async def create(request: Request[AgentCreate]) -> AgentAnswer:
        return view(await service.create(request.principal, request.body))

    async def update(request: Request[AgentChange]) -> AgentAnswer:
        return view(await service.update(request.principal, request.path["agent_id"], request.body))

    async def delete(request: Request) -> AgentAnswer:
        return view(await service.delete(request.principal, request.path["agent_id"]))

    async def addresses(request: Request[AddressesChange]) -> AgentAnswer:
        agent_id = request.path["agent_id"]
        return view(await service.set_addresses(request.principal, agent_id, request.body.addresses))

    async def password(request: Request[PasswordChange]) -> AgentAnswer:
        agent_id = request.path["agent_id"]
        return view(await service.set_password(request.principal, agent_id, request.body.password))

    async def permission(request: Request[PermissionChange]) -> AgentAnswer:
        agent_id = request.path["agent_id"]
        return view(await service.set_permission(request.principal, agent_id, request.body.permission))

    async def status(request: Request[StatusChange]) -> AgentAnswer:
        agent_id = request.path["agent_id"]
        return view(await service.set_status(request.principal, agent_id, request.body.status))

    async def tag_ids(request: Request[TagIdsChange]) -> AgentAnswer:
        agent_id = request.path["agent_id"]
        return view(await service.set_tags(request.principal, agent_id, request.body.tag_ids))

    return [
        Route(
            method="GET",
            path="/v1.0/agents",
            handler=page,
            summary="List agents",
            description="Newest first.",
            tags=_TAGS,
            query=PageQuery,
            response=Page[AgentAnswer],
        ),
        Route(
            method="POST",
            path="/v1.0/agents",
            handler=create,
            summary="Make an agent",
            description="The name is unique in the installation (409 `USERNAME_TAKEN`). The password is stored as a "
            "hash and never shown.",
            tags=_TAGS,
            auth="admin",
            body=AgentCreate,
            response=AgentAnswer,
            errors=(UsernameTaken,),
            idempotent=True,
            body_examples={
                "one telephone": {
                    "username": "ada@example.com",
                    "password": "correct horse battery",
                    "name": "Ada",
                    "addresses": [{"type": "tel", "target": "+15559876543"}],
                }
            },
        ),
        Route(
            method="GET",
            path=_ONE,
            handler=get,
            summary="Read an agent",
            tags=_TAGS,
            response=AgentAnswer,
            errors=(AgentNotFound,),
        ),
        Route(
            method="PUT",
            path=_ONE,
            handler=update,
            summary="Change an agent",
            description="Fields that are left out stay as they are.",
            tags=_TAGS,
            auth="admin",
            body=AgentChange,
            response=AgentAnswer,
            errors=(AgentNotFound,),
        ),
        Route(
            method="DELETE",
            path=_ONE,
            handler=delete,
            summary="Delete an agent",
            description="Its logins end at once. The last admin cannot be deleted (409 `LAST_ADMIN`).",
            tags=_TAGS,
            auth="admin",
            response=AgentAnswer,
            errors=(AgentNotFound, LastAdmin),
        ),
        _part("addresses", addresses, AddressesChange, "Set where an agent is rung", _OWN),
        _part("password", password, PasswordChange, "Set an agent's password", _OWN),
        _part(
            "status",
            status,
            StatusChange,
            "Set an agent's status",
            _OWN + "Queues ring `available` agents. `ringing`, and `busy` during a call, come by themselves.",
        ),
        _part("tag_ids", tag_ids, TagIdsChange, "Set an agent's tags", "", admin=True),
        _part(
            "permission",
            permission,
            PermissionChange,
            "Set an agent's permissions",
            "The last admin keeps its permission (409 `LAST_ADMIN`).",
            admin=True,
            errors=(AgentNotFound, LastAdmin),
        ),
    ]


def _part(
    name: str,
    handler: Callable[[Request[Any]], Awaitable[AgentAnswer]],
    body: type[BaseModel],
    summary: str,
    description: str,
    *,
    admin: bool = False,
    errors: tuple[type[RinglineError], ...] = (AgentNotFound,),
) -> Route:
    """``PUT`` on one property, which it replaces."""
    return Route(
        method="PUT",
        path=f"{_ONE}/{name}",
        handler=handler,
        summary=summary,
        description=description.strip(),
        tags=_TAGS,
        auth="admin" if admin else "customer",
        body=body,
        response=AgentAnswer,
        errors=errors,
    )
