"""``/v1.0/audit_events``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from ringline.audit.models import AuditEventAnswer, AuditQuery
from ringline.audit.service import AuditService
from ringline.http import Page, Principal, Request, Route, page_of


def audit_routes(service: AuditService) -> list[Route]:
    """The trail of administrative changes."""

    async def page(request: Request[None, AuditQuery]) -> Page[AuditEventAnswer]:
        rows = await service.page(request.principal, request.query)
        return page_of(rows, request.query, lambda row: shown(row, request.principal))

    return [
        Route(
            method="GET",
            path="/v1.0/audit_events",
            handler=page,
            summary="List administrative changes",
            description="Newest first: who created, changed or deleted what (agents, access keys, numbers, flows, "
            "extensions, trunks, providers, routes, billing, the customer itself ...), when and from where, with "
            "each field before and after; and logins. Secrets are `***`. Nothing of it can be changed; it is kept "
            "as long as the operator says (`RINGLINE_AUDIT_KEEP_DAYS`). A customer's admin sees its own, the "
            "installation's administrator all.",
            tags=("audit_events",),
            auth="admin",
            query=AuditQuery,
            response=Page[AuditEventAnswer],
        )
    ]


def shown(row: Row[Any], principal: Principal) -> AuditEventAnswer:
    """The row as ``principal`` may see it: of an operator's requests a customer learns only that they were his."""
    values: dict[str, Any] = dict(row._mapping)
    foreign = row.actor_customer_id is not None and row.actor_customer_id != principal.customer_id
    if foreign and not principal.is_project_admin:
        values |= {
            "actor_type": "operator",
            "agent_id": None,
            "accesskey_id": None,
            "username": "",
            "remote": "",
        }
    return AuditEventAnswer.model_validate(values)
