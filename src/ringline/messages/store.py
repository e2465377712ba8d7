"""The tables of texts and every query on them.

A message has a target for each destination. A target that a vendor is to carry has a ``step`` until its fate is
known: ``queued`` (the vendor has not heard of it) or ``handed`` (it may have).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.storage import metadata, tenancy
from ringline.storage.types import (
    Json,
    Timestamp,
    customer_column,
    id_column,
    paging_index,
    text_column,
    tm_columns,
)

_LIVE = sa.text("tm_delete IS NULL")
_ZERO = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")
NO_LIST = sa.text("'[]'::jsonb")


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0"))


messages = sa.Table(
    "messages",
    metadata,
    id_column(),
    customer_column(),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("direction", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("source", Json, nullable=False),
    sa.Column("source_number", sa.Text, nullable=False),
    text_column("text"),
    sa.Column("media", Json, nullable=False, server_default=NO_LIST),
    # who brought an inbound one, and that vendor's id of it, of which ours is made: it may be reported twice
    text_column("vendor"),
    text_column("reference"),
    # the flow that an inbound one runs: none, ``pending`` (to be started), ``started``, ``failed``
    sa.Column("flow_id", sa.Uuid, nullable=False, server_default=_ZERO),
    text_column("flow_state"),
    # the Asterisk beside whose calls the flow runs, where there are several: its controller goes on with it
    text_column("flow_asterisk"),
    # the flow that it runs (inbound), or that sent it (outbound)
    sa.Column("activeflow_id", sa.Uuid, nullable=False, server_default=_ZERO),
    # how many flows answered each other up to this one
    _count("hops"),
    sa.Column("automatic", sa.Boolean, nullable=False, server_default=sa.text("false")),
    *tm_columns(),
)
paging_index(messages)
for _name in ("direction", "status", "source_number"):
    sa.Index(
        f"ix_messages_{_name}",
        messages.c.customer_id,
        messages.c[_name],
        messages.c.tm_create.desc(),
        messages.c.id.desc(),
        postgresql_where=_LIVE,
    )
sa.Index("ix_messages_flow", messages.c.tm_create, postgresql_where=sa.text("flow_state = 'pending'"))

targets = sa.Table(
    "message_targets",
    metadata,
    id_column(),
    sa.Column("message_id", sa.Uuid, sa.ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("source_number", sa.Text, nullable=False),
    sa.Column("destination", Json, nullable=False),
    sa.Column("destination_number", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    text_column("reason"),
    text_column("detail"),
    _count("parts"),
    text_column("vendor"),
    text_column("reference"),
    text_column("step"),
    _count("tries"),
    sa.Column("tm_due", Timestamp, nullable=True),
    # when it was handed to the vendor first
    sa.Column("tm_handed", Timestamp, nullable=True),
    # those of its message: lists by destination are walked here
    *tm_columns(),
)
sa.Index("uq_message_targets_position", targets.c.message_id, targets.c.position, unique=True)
sa.Index(
    "ix_message_targets_destination",
    targets.c.customer_id,
    targets.c.destination_number,
    targets.c.tm_create.desc(),
    targets.c.message_id.desc(),
    postgresql_where=_LIVE,
)
sa.Index(
    "ix_message_targets_pair",
    targets.c.customer_id,
    targets.c.destination_number,
    targets.c.source_number,
    targets.c.tm_create.desc(),
    targets.c.message_id.desc(),
    postgresql_where=_LIVE,
)
sa.Index("ix_message_targets_due", targets.c.tm_due, postgresql_where=sa.text("step <> ''"))
sa.Index(
    "ix_message_targets_reference",
    targets.c.vendor,
    targets.c.reference,
    postgresql_where=sa.text("reference <> ''"),
)

optouts = sa.Table(
    "message_optouts",
    metadata,
    id_column(),
    customer_column(),
    sa.Column("number", sa.Text, nullable=False),
    sa.Column("handset", sa.Text, nullable=False),
    *tm_columns(),
)
sa.Index(
    "uq_message_optouts_pair",
    optouts.c.customer_id,
    optouts.c.number,
    optouts.c.handset,
    unique=True,
    postgresql_where=_LIVE,
)
paging_index(optouts)
for _name in ("number", "handset"):
    sa.Index(
        f"ix_message_optouts_{_name}",
        optouts.c.customer_id,
        optouts.c[_name],
        optouts.c.tm_create.desc(),
        optouts.c.id.desc(),
        postgresql_where=_LIVE,
    )


# writing


async def insert_message(connection: AsyncConnection, row: Mapping[str, Any]) -> bool:
    """Store a message; ``False`` where its id is there already."""
    statement = postgresql.insert(messages).values(**row).on_conflict_do_nothing().returning(messages.c.id)
    return (await connection.execute(statement)).first() is not None


async def insert_targets(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    await connection.execute(sa.insert(targets), [dict(row) for row in rows])


async def delete(
    connection: AsyncConnection, customer_id: UUID, message_id: UUID, now: datetime
) -> sa.Row[Any] | None:
    """Take a message out of sight that no vendor is going to be handed, and return it."""
    undecided = sa.exists().where(targets.c.message_id == message_id, targets.c.step != "")
    statement = (
        sa.update(messages)
        .where(
            messages.c.id == message_id,
            messages.c.customer_id == customer_id,
            messages.c.tm_delete.is_(None),
            ~undecided,
        )
        .values(tm_update=now, tm_delete=now)
        .returning(messages)
    )
    row: sa.Row[Any] | None = (await connection.execute(statement)).first()
    if row is not None:
        await connection.execute(
            sa.update(targets)
            .where(targets.c.message_id == message_id, targets.c.customer_id == customer_id)
            .values(tm_delete=now)
        )
    return row


# reading


def listing(customer_id: UUID) -> sa.Select[Any]:
    """The customer's messages, to be filtered and paged by the caller."""
    return sa.select(messages).where(messages.c.customer_id == customer_id, messages.c.tm_delete.is_(None))


def towards(customer_id: UUID, number: str) -> sa.Select[Any]:
    """The customer's messages to a number; ``tm_create`` and ``message_id`` of ``targets`` order them."""
    return (
        sa.select(messages)
        .join(targets, targets.c.message_id == messages.c.id)
        .where(
            targets.c.customer_id == customer_id,
            targets.c.destination_number == number,
            targets.c.tm_delete.is_(None),
        )
    )


# an array is one parameter, however many there are: the statement stays the same
_SHOWN_OF = (
    sa.select(
        *(
            targets.c[name]
            for name in (
                "message_id",
                "destination",
                "destination_number",
                "status",
                "reason",
                "detail",
                "parts",
                "tm_update",
            )
        )
    )
    .where(targets.c.message_id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Uuid))))
    .order_by(targets.c.message_id, targets.c.position)
)


async def targets_of(
    connection: AsyncConnection, message_ids: Sequence[UUID]
) -> dict[UUID, list[sa.Row[Any]]]:
    """What is shown of the targets of messages that were found before, in order."""
    found: dict[UUID, list[sa.Row[Any]]] = {message_id: [] for message_id in message_ids}
    if message_ids:
        with tenancy.across():
            rows = await connection.execute(_SHOWN_OF, {"ids": list(message_ids)})
        for row in rows:
            found[row.message_id].append(row)
    return found


_SHOWN_TARGET = ("destination", "status", "reason", "detail", "parts", "tm_update")
_SHOWN = (
    "id",
    "customer_id",
    "type",
    "direction",
    "status",
    "source",
    "text",
    "media",
    "activeflow_id",
    "tm_create",
    "tm_update",
    "tm_delete",
)


def with_targets(page: sa.Select[Any]) -> sa.Select[Any]:
    """What is shown of a page's messages and, as JSON, of their targets, in one statement, newest first."""
    rows = page.subquery("page")
    shown = sa.func.jsonb_build_object(*(part for name in _SHOWN_TARGET for part in (name, targets.c[name])))
    of_row = (
        sa.select(sa.func.jsonb_agg(postgresql.aggregate_order_by(shown, targets.c.position), type_=Json))
        .where(targets.c.message_id == rows.c.id)
        .scalar_subquery()
    )
    columns = [rows.c[name] for name in _SHOWN]
    return sa.select(*columns, of_row.label("targets")).order_by(rows.c.tm_create.desc(), rows.c.id.desc())


async def exists(connection: AsyncConnection, customer_id: UUID, message_id: UUID) -> bool:
    """Whether the customer has, or had, a message of this id."""
    statement = sa.select(messages.c.id).where(
        messages.c.id == message_id, messages.c.customer_id == customer_id
    )
    return (await connection.execute(statement)).first() is not None


async def hops_of(connection: AsyncConnection, customer_id: UUID, message_id: UUID) -> int:
    """How many flows answered each other up to this message; 0 for one that is not there."""
    statement = sa.select(messages.c.hops).where(
        messages.c.id == message_id, messages.c.customer_id == customer_id
    )
    return int((await connection.execute(statement)).scalar() or 0)


# handing to vendors


async def due(connection: AsyncConnection, now: datetime, most: int) -> list[sa.Row[Any]]:
    """Targets that it is time to do something for, oldest first, with ``text`` and ``media`` of their message."""
    statement = (
        sa.select(targets, messages.c.text, messages.c.media, messages.c.automatic)
        .join(messages, messages.c.id == targets.c.message_id)
        .where(targets.c.step != "", targets.c.tm_due <= now)
        .order_by(targets.c.tm_due, targets.c.tm_create, targets.c.position)
        .limit(most)
    )
    return list(await connection.execute(statement))


async def next_due(connection: AsyncConnection) -> datetime | None:
    """When there is something to do next."""
    statement = sa.select(targets.c.tm_due).where(targets.c.step != "").order_by(targets.c.tm_due).limit(1)
    moment: datetime | None = (await connection.execute(statement)).scalar()
    return moment


async def waiting(connection: AsyncConnection) -> int:
    """How many targets wait for a vendor, or for its word."""
    statement = sa.select(sa.func.count()).select_from(targets).where(targets.c.step != "")
    return int((await connection.execute(statement)).scalar_one())


async def defer(connection: AsyncConnection, moments: Mapping[UUID, datetime]) -> None:
    """Put targets off that it was not the turn of."""
    await connection.execute(
        sa.update(targets)
        .where(targets.c.id == sa.bindparam("target_id"), targets.c.step == "queued")
        .values(tm_due=sa.bindparam("moment")),
        [{"target_id": target_id, "moment": moment} for target_id, moment in moments.items()],
    )


async def hand(connection: AsyncConnection, target_id: UUID, now: datetime, look_at: datetime) -> bool:
    """Note, before the vendor is asked, that it is about to be. ``False`` where somebody else did so."""
    statement = (
        sa.update(targets)
        .where(targets.c.id == target_id, targets.c.step == "queued")
        .values(
            step="handed",
            tm_due=look_at,
            tm_handed=sa.func.coalesce(targets.c.tm_handed, now),
            tries=targets.c.tries + 1,
        )
        .returning(targets.c.id)
    )
    return (await connection.execute(statement)).first() is not None


async def requeue(
    connection: AsyncConnection, target_id: UUID, step: str, moment: datetime, detail: str
) -> None:
    """Have another try (``queued``) or another look (``handed``) at a moment. Not where its fate is known by now."""
    await connection.execute(
        sa.update(targets)
        .where(targets.c.id == target_id, targets.c.step == "handed")
        .values(step=step, tm_due=moment, detail=detail)
    )


async def hasten(connection: AsyncConnection, moment: datetime) -> None:
    """Have everything that is ``handed`` looked at by then."""
    await connection.execute(
        sa.update(targets).where(targets.c.step == "handed", targets.c.tm_due > moment).values(tm_due=moment)
    )


async def locked(connection: AsyncConnection, target_id: UUID) -> sa.Row[Any] | None:
    """A target, held with its message until the transaction ends: reports of one message come one by one."""
    owner = sa.select(targets.c.message_id).where(targets.c.id == target_id).scalar_subquery()
    await connection.execute(sa.select(messages.c.id).where(messages.c.id == owner).with_for_update())
    row: sa.Row[Any] | None = (
        await connection.execute(sa.select(targets).where(targets.c.id == target_id))
    ).first()
    return row


async def of_reference(connection: AsyncConnection, vendor: str, reference: str) -> UUID | None:
    """The target that a vendor knows under its own id."""
    statement = sa.select(targets.c.id).where(targets.c.vendor == vendor, targets.c.reference == reference)
    found: UUID | None = (await connection.execute(statement.limit(1))).scalar()
    return found


async def handed_to(connection: AsyncConnection, vendor: str, destination: str) -> bool:
    """Whether a vendor may be carrying a text to a number whose id there we do not know yet."""
    statement = sa.select(targets.c.id).where(
        targets.c.step == "handed",
        targets.c.vendor == vendor,
        targets.c.destination_number == destination,
        targets.c.reference == "",
    )
    return (await connection.execute(statement.limit(1))).first() is not None


async def settle(
    connection: AsyncConnection, target_id: UUID, message_id: UUID, changes: Mapping[str, Any], now: datetime
) -> None:
    """Change a target that is ``locked``, and say of its message what its targets amount to (``states.overall``)."""
    await connection.execute(
        sa.update(targets).where(targets.c.id == target_id).values(**changes, tm_update=now)
    )
    if "status" not in changes:
        return
    has = {status: sa.func.bool_or(targets.c.status == status) for status in ("sending", "sent", "delivered")}
    amounts_to = (
        sa.select(
            sa.case(
                *((has[status], sa.literal(status)) for status in ("sending", "sent", "delivered")),
                else_="failed",
            )
        )
        .where(targets.c.message_id == message_id)
        .scalar_subquery()
    )
    await connection.execute(
        sa.update(messages).where(messages.c.id == message_id).values(status=amounts_to, tm_update=now)
    )


# flows of inbound texts


async def pending_flows(
    connection: AsyncConnection, most: int, passing_over: Collection[UUID] = (), *, asterisk: str = ""
) -> list[sa.Row[Any]]:
    """Inbound messages whose flow has not been seen to run, oldest first, but for those of some customers.

    With ``asterisk`` those that run beside its calls; without one all.
    """
    statement = (
        sa.select(messages)
        .where(messages.c.flow_state == "pending", messages.c.customer_id.not_in(passing_over))
        .order_by(messages.c.tm_create)
        .limit(most)
    )
    if asterisk:
        statement = statement.where(messages.c.flow_asterisk == asterisk)
    return list(await connection.execute(statement))


async def claim_flows(connection: AsyncConnection, asterisk: str, most: int) -> None:
    """Have the oldest flows that nobody starts started beside the calls of this Asterisk, and of no other."""
    free = (
        sa.select(messages.c.id)
        .where(messages.c.flow_state == "pending", messages.c.flow_asterisk == "")
        .order_by(messages.c.tm_create)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    await connection.execute(
        sa.update(messages).where(messages.c.id.in_(free)).values(flow_asterisk=asterisk)
    )


async def flow_is(connection: AsyncConnection, message_ids: Sequence[UUID], state: str) -> None:
    """Note what became of flows: ``started`` or ``failed``."""
    await connection.execute(
        sa.update(messages)
        .where(messages.c.id.in_(message_ids), messages.c.flow_state == "pending")
        .values(flow_state=state)
    )


# pairs that said STOP


async def stop(connection: AsyncConnection, row: Mapping[str, Any]) -> bool:
    """Note that a handset wants no texts from a number; ``False`` where that is so already."""
    statement = postgresql.insert(optouts).values(**row).on_conflict_do_nothing().returning(optouts.c.id)
    return (await connection.execute(statement)).first() is not None


async def start(
    connection: AsyncConnection, customer_id: UUID, number: str, handset: str, now: datetime
) -> bool:
    """Note that it wants them again; ``False`` where it does anyway."""
    statement = (
        sa.update(optouts)
        .where(
            optouts.c.customer_id == customer_id,
            optouts.c.number == number,
            optouts.c.handset == handset,
            optouts.c.tm_delete.is_(None),
        )
        .values(tm_update=now, tm_delete=now)
        .returning(optouts.c.id)
    )
    return (await connection.execute(statement)).first() is not None


async def stopped(
    connection: AsyncConnection, customer_id: UUID, number: str, handsets: Sequence[str]
) -> set[str]:
    """Which of the handsets want no texts from the number."""
    statement = sa.select(optouts.c.handset).where(
        optouts.c.customer_id == customer_id,
        optouts.c.number == number,
        optouts.c.handset.in_(handsets),
        optouts.c.tm_delete.is_(None),
    )
    return set((await connection.execute(statement)).scalars())
