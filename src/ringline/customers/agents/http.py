"""The routes of agents."""

from __future__ import annotations

from functools import partial
from typing import Any

from ringline.billing.tiers import LimitReached
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
from ringline.errors import ResourceExhausted
from ringline.http import Page, PageQuery, Request, Resource, Route, page_of

_AGENTS = Resource("/v1.0/agents", "agent_id", AgentAnswer, AgentNotFound, "agents", writing="admin")

_OWN = "An admin changes any agent of the customer, an agent itself."


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

    # each replaces one property
    part = partial(_AGENTS.act, "PUT")
    return [
        _AGENTS.list(page, "List agents"),
        _AGENTS.create(
            create,
            "Make an agent",
            AgentCreate,
            description="The name is unique in the installation (409 `USERNAME_TAKEN`). The password is stored as a "
            "hash and never shown.",
            body_examples={
                "one telephone": {
                    "username": "ada@example.com",
                    "password": "correct horse battery",
                    "name": "Ada",
                    "addresses": [{"type": "tel", "target": "+15559876543"}],
                }
            },
            errors=(UsernameTaken, LimitReached, ResourceExhausted),
        ),
        _AGENTS.get(get, "Read an agent"),
        _AGENTS.update(
            update, "Change an agent", AgentChange, description="Fields that are left out stay as they are."
        ),
        _AGENTS.delete(
            delete,
            "Delete an agent",
            description="Its logins end at once. The last admin cannot be deleted (409 `LAST_ADMIN`).",
            errors=(LastAdmin,),
        ),
        part(
            "addresses",
            addresses,
            "Set where an agent is rung",
            body=AddressesChange,
            auth="customer",
            description=_OWN,
        ),
        part(
            "password",
            password,
            "Set an agent's password",
            body=PasswordChange,
            auth="customer",
            description=f"{_OWN} Tokens of logins with the former password are refused from then on.",
        ),
        part(
            "status",
            status,
            "Set an agent's status",
            body=StatusChange,
            auth="customer",
            description=f"{_OWN} Queues ring `available` agents. `ringing`, and `busy` during a call, come by"
            " themselves.",
        ),
        part("tag_ids", tag_ids, "Set an agent's tags", body=TagIdsChange),
        part(
            "permission",
            permission,
            "Set an agent's permissions",
            body=PermissionChange,
            description="The last admin keeps its permission (409 `LAST_ADMIN`).",
            errors=(LastAdmin,),
        ),
    ]
