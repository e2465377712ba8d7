"""What customers have, and how it is taken down when they are deleted: every table that names one is in here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from ringline import schema
from ringline.customers.removal import OneOf, Part, each, marked
from ringline.storage import Database

HISTORY: Final = frozenset(
    {
        # what was used and what is owed for it
        "billings",
        "call_batches",
        "calls",
        "cdrs",
        "conferencecalls",
        "groupcalls",
        "number_orders",
        "queuecalls",
        "transfers",
        "webhook_deliveries",
        # what others asked of the customer: it outlives it
        "message_optouts",
        # what is kept for a while in any case
        "audit_events",
        "events",
        "idempotency_keys",
        "revoked_tokens",
        "sip_traces",
        # what follows from other tables
        "account_tokens",
        "message_targets",
        "routing_groups",
    }
)
"""Tables that stay as they are. They say by which numbers somebody was reached, and no more of people."""

_PEOPLE: Final[dict[str, Any]] = {
    **dict.fromkeys(
        (
            "name",
            "detail",
            "text",
            "webhook_uri",
            "message",
            "email",
            "account_number",
            "pin",
            "authorised_person",
        ),
        "",
    ),
    "owner": {},
    "actions": [],
    "snapshot": {},
    "media": [],
    "emergency_address": None,
}
"""Columns in which customers write what they like, and what they say then."""
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Belongs:
    """Who takes down what takes more than a mark: vendors, Kamailio or files are told."""

    numbers: OneOf
    number_ports: OneOf
    trunks: OneOf
    extensions: OneOf
    routes: OneOf
    conferences: OneOf
    queues: OneOf
    recordings: OneOf


def belongings(database: Database, rooms: Belongs) -> Iterable[Part]:
    """The parts in the order in which they go: credentials, what is reached from outside, what runs, what is said."""
    tables = {table.name: table for table in schema.load().sorted_tables if _is_someones(table)}
    for name in ("accesskeys", "agents"):
        yield marked(database, tables.pop(name))
    told = [field.name for field in fields(rooms)]
    for name in told:
        yield each(database, tables[name], getattr(rooms, name))
    for name, table in tables.items():
        if name not in told and "tm_delete" in table.c:
            yield marked(database, table)
    for table in tables.values():
        if forgotten := {name: value for name, value in _PEOPLE.items() if name in table.c}:
            yield blanked(database, table, forgotten)


def _is_someones(table: sa.Table) -> bool:
    return "customer_id" in table.c and "id" in table.c and table.name not in HISTORY


def blanked(database: Database, table: sa.Table, values: dict[str, Any]) -> Part:
    """A part whose rows, deleted ones too, say nothing of people any more."""
    differs = sa.or_(
        *(
            table.c[name].is_not(None)
            if value is None
            else table.c[name].is_distinct_from(sa.literal(value, table.c[name].type))
            for name, value in values.items()
        )
    )

    async def all_of(customer_id: UUID) -> None:
        while True:
            some = sa.select(table.c.id).where(table.c.customer_id == customer_id, differs).limit(_BATCH)
            async with database.begin() as connection:
                done = await connection.execute(sa.update(table).where(table.c.id.in_(some)).values(values))
            if done.rowcount < _BATCH:
                return

    return Part(f"{table.name} words", all_of)
