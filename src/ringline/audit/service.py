"""Reading the trail."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Row

from ringline.audit.models import AuditQuery
from ringline.audit.store import audit_events
from ringline.http import Principal, page_statement
from ringline.storage import Database

_EQUAL = ("resource", "resource_id", "agent_id", "accesskey_id", "action")


class AuditService:
    """The trail, each customer's its own; the installation's administrator reads all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, principal: Principal, query: AuditQuery) -> list[Row[Any]]:
        async with self._database.connect() as connection:
            return list((await connection.execute(listing(principal, query))).all())


def listing(principal: Principal, query: AuditQuery) -> sa.Select[Any]:
    """The page of the trail that a query asks for."""
    rows = audit_events.c
    statement = sa.select(audit_events)
    wanted = query.customer_id if principal.is_project_admin else principal.customer_id
    if wanted is not None:
        statement = statement.where(rows.customer_id == wanted)
    for name in _EQUAL:
        if (value := getattr(query, name)) is not None:
            statement = statement.where(rows[name] == value)
    if query.tm_from is not None:
        statement = statement.where(rows.tm_create >= query.tm_from)
    if query.tm_to is not None:
        statement = statement.where(rows.tm_create < query.tm_to)
    return page_statement(statement, audit_events, query)
