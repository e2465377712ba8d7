"""Every query on ports, their numbers and their files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.numbers.ports.documents import Document
from ringline.numbers.ports.states import NumberStatus, Status
from ringline.numbers.ports.tables import number_port_documents, number_port_numbers, number_ports
from ringline.numbers.tables import numbers as held_numbers
from ringline.storage import tenancy
from ringline.storage.rows import live

_P, _N, _D = number_ports.c, number_port_numbers.c, number_port_documents.c
_SHOWN_OF_DOCUMENTS: Final = [column for column in _D if column.name != "content"]
HISTORY_STEPS: Final = 100


async def locked(connection: AsyncConnection, port_id: UUID) -> sa.Row[Any] | None:
    """A port, deleted or not, which nobody else changes until the transaction ends."""
    row: sa.Row[Any] | None = (
        await connection.execute(sa.select(number_ports).where(_P.id == port_id).with_for_update())
    ).first()
    return row


async def own_locked(connection: AsyncConnection, customer_id: UUID, port_id: UUID) -> sa.Row[Any] | None:
    """A customer's live port, which nobody else changes until the transaction ends."""
    statement = live(number_ports, customer_id).where(_P.id == port_id).with_for_update()
    row: sa.Row[Any] | None = (await connection.execute(statement)).first()
    return row


async def open_count(connection: AsyncConnection, customer_id: UUID) -> int:
    """How many ports of a customer have not ended."""
    statement = (
        sa.select(sa.func.count())
        .select_from(number_ports)
        .where(_P.customer_id == customer_id, _P.tm_end.is_(None), _P.tm_delete.is_(None))
    )
    return int(await connection.scalar(statement) or 0)


async def insert(connection: AsyncConnection, values: dict[str, Any]) -> sa.Row[Any]:
    """A new port."""
    statement = sa.insert(number_ports).values(values).returning(number_ports)
    row: sa.Row[Any] = (await connection.execute(statement)).one()
    return row


async def change(connection: AsyncConnection, port_id: UUID, values: dict[str, Any]) -> sa.Row[Any]:
    """Change columns of a port that was found before, and return it as it is then."""
    statement = sa.update(number_ports).where(_P.id == port_id).values(values).returning(number_ports)
    with tenancy.across():
        row: sa.Row[Any] = (await connection.execute(statement)).one()
    return row


def step(row: Any, status: Status, reason: str, now: datetime) -> dict[str, Any]:
    """The columns of a port that came into a state at ``now``."""
    entry = {"status": status.value, "reason": reason, "tm": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    history = [*(row.history if row is not None else ()), entry][-HISTORY_STEPS:]
    return {"status": status.value, "reason": reason, "history": history, "tm_update": now}


def end(row: Any, status: Status, reason: str, now: datetime) -> dict[str, Any]:
    """The columns of a port that has ended; nobody needs the old carrier's PIN any more."""
    return {
        **step(row, status, reason, now),
        "cancel_requested": False,
        "pin": "",
        "tm_next": None,
        "tm_lease": None,
        "tm_end": now,
    }


async def put_numbers(connection: AsyncConnection, port_id: UUID, numbers: Sequence[str]) -> None:
    """The numbers of a port that was not submitted."""
    await connection.execute(sa.delete(number_port_numbers).where(_N.port_id == port_id))
    await connection.execute(
        sa.insert(number_port_numbers),
        [
            {
                "port_id": port_id,
                "number": number,
                "place": place,
                "status": NumberStatus.WAITING.value,
                "claimed": False,
            }
            for place, number in enumerate(numbers)
        ],
    )


async def claim_numbers(connection: AsyncConnection, port_id: UUID) -> None:
    """Nobody else ports the numbers of this port from now on. ``IntegrityError`` where somebody does."""
    await connection.execute(
        sa.update(number_port_numbers)
        .where(_N.port_id == port_id, _N.status == NumberStatus.WAITING.value)
        .values(claimed=True)
    )


async def free_numbers(connection: AsyncConnection, port_id: UUID) -> None:
    """They may be in another port."""
    await connection.execute(
        sa.update(number_port_numbers).where(_N.port_id == port_id).values(claimed=False)
    )


async def number_ported(connection: AsyncConnection, port_id: UUID, number: str, number_id: UUID) -> None:
    """One number of a port has become one of ours."""
    await connection.execute(
        sa.update(number_port_numbers)
        .where(_N.port_id == port_id, _N.number == number)
        .values(status=NumberStatus.PORTED.value, number_id=number_id, claimed=False, reason="")
    )


async def number_failed(connection: AsyncConnection, port_id: UUID, number: str, reason: str) -> None:
    """One number of a port does not come."""
    await connection.execute(
        sa.update(number_port_numbers)
        .where(_N.port_id == port_id, _N.number == number)
        .values(status=NumberStatus.FAILED.value, claimed=False, reason=reason)
    )


async def numbers_of(
    connection: AsyncConnection, port_ids: Collection[UUID]
) -> defaultdict[UUID, list[sa.Row[Any]]]:
    """The numbers of ports, each in their order."""
    statement = sa.select(number_port_numbers).where(_N.port_id.in_(port_ids)).order_by(_N.port_id, _N.place)
    found: defaultdict[UUID, list[sa.Row[Any]]] = defaultdict(list)
    for row in await connection.execute(statement):
        found[row.port_id].append(row)
    return found


async def present(connection: AsyncConnection, numbers: Sequence[str]) -> sa.Row[str, UUID] | None:
    """One of these numbers that somebody here has."""
    statement = sa.select(held_numbers.c.number, held_numbers.c.customer_id).where(
        held_numbers.c.number.in_(numbers), held_numbers.c.tm_delete.is_(None)
    )
    with tenancy.across():
        return (await connection.execute(statement.limit(1))).first()


async def claimed_by(
    connection: AsyncConnection, numbers: Sequence[str], port_id: UUID
) -> sa.Row[str, UUID, UUID] | None:
    """One of these numbers that another port brings in."""
    statement = (
        sa.select(_N.number, _P.customer_id, _N.port_id)
        .join_from(number_port_numbers, number_ports, _P.id == _N.port_id)
        .where(_N.number.in_(numbers), _N.claimed, _N.port_id != port_id)
    )
    with tenancy.across():
        return (await connection.execute(statement.limit(1))).first()


async def put_document(connection: AsyncConnection, port_id: UUID, file: Document, now: datetime) -> None:
    """Keep a file; it takes the place of the former one of its kind."""
    await connection.execute(
        sa.delete(number_port_documents).where(_D.port_id == port_id, _D.kind == file.kind)
    )
    await connection.execute(
        sa.insert(number_port_documents).values(
            id=uuid4(),
            port_id=port_id,
            kind=file.kind,
            name=file.name,
            content_type=file.content_type,
            size=len(file.content),
            content=file.content,
            tm_create=now,
        )
    )


async def documents_of(
    connection: AsyncConnection, port_ids: Collection[UUID]
) -> defaultdict[UUID, list[sa.Row[Any]]]:
    """The files of ports, without what is in them."""
    statement = sa.select(*_SHOWN_OF_DOCUMENTS).where(_D.port_id.in_(port_ids)).order_by(_D.kind.desc())
    found: defaultdict[UUID, list[sa.Row[Any]]] = defaultdict(list)
    for row in await connection.execute(statement):
        found[row.port_id].append(row)
    return found


async def contents_of(connection: AsyncConnection, port_id: UUID) -> Sequence[sa.Row[Any]]:
    """The files of a port with what is in them."""
    return (await connection.execute(sa.select(number_port_documents).where(_D.port_id == port_id))).all()


async def drop_contents(connection: AsyncConnection, ended_before: datetime) -> int:
    """Forget what was in the files of ports that ended long ago; how many files that were."""
    ended = sa.select(_P.id).where(_P.tm_end < ended_before)
    statement = sa.update(number_port_documents).where(_D.content.is_not(None), _D.port_id.in_(ended))
    return (await connection.execute(statement.values(content=None))).rowcount


async def claim(
    connection: AsyncConnection, *, now: datetime, lease: timedelta, limit: int
) -> Sequence[sa.Row[Any]]:
    """Ports that are due, taken for so long."""
    due = (
        sa.select(_P.id)
        .where(_P.tm_next <= now, sa.or_(_P.tm_lease.is_(None), _P.tm_lease <= now))
        .order_by(_P.tm_next)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    statement = (
        sa.update(number_ports).where(_P.id == due.c.id).values(tm_lease=now + lease).returning(number_ports)
    )
    rows: Sequence[sa.Row[Any]] = (await connection.execute(statement)).all()
    return rows


async def next_due(connection: AsyncConnection) -> datetime | None:
    """When a port is due next."""
    wanted = sa.func.greatest(_P.tm_next, sa.func.coalesce(_P.tm_lease, _P.tm_next))
    due: datetime | None = await connection.scalar(
        sa.select(sa.func.min(wanted)).where(_P.tm_next.is_not(None))
    )
    return due


def rest(row: Any, due: datetime | None, now: datetime) -> dict[str, Any]:
    """The columns that end a lease: the port is due next at ``due``, or at once if it was hinted at meanwhile."""
    if due is not None:
        due = sa.case((_P.hints != row.hints, now), else_=due)  # type: ignore[assignment]  # an expression
    return {"tm_lease": None, "tm_next": due}


def hint(now: datetime) -> dict[str, Any]:
    """The columns of a port at which somebody is to look now."""
    return {"hints": _P.hints + 1, "tm_next": now}


async def of_report(
    connection: AsyncConnection, vendor: str, *, request_id: UUID | None, reference: str
) -> sa.Row[Any] | None:
    """The port that a vendor's report is of: by our id, else by the vendor's."""
    for found in (
        _P.request_id == request_id if request_id is not None else None,
        _P.reference == reference if reference else None,
    ):
        if found is not None:
            statement = sa.select(number_ports).where(found, _P.provider_name == vendor).limit(1)
            row: sa.Row[Any] | None = (await connection.execute(statement)).first()
            if row is not None:
                return row
    return None


async def hint_at_unanswered(connection: AsyncConnection, vendor: str, now: datetime) -> None:
    """Look at what a vendor was asked and whose reference is not known: a report may be of one of them."""
    await connection.execute(
        sa.update(number_ports)
        .where(_P.provider_name == vendor, _P.tm_sent.is_not(None), _P.reference == "", _P.tm_end.is_(None))
        .values(hint(now))
    )


async def hasten_mended(connection: AsyncConnection, later_than: datetime, now: datetime) -> int:
    """Look now at what was not to be looked at before ``later_than``; how many ports that are."""
    changed = await connection.execute(
        sa.update(number_ports).where(_P.tm_next > later_than).values(hint(now))
    )
    return changed.rowcount


async def release(connection: AsyncConnection, port_ids: Collection[UUID]) -> None:
    """End leases of a process that stops."""
    await connection.execute(sa.update(number_ports).where(_P.id.in_(port_ids)).values(tm_lease=None))


async def give_back(connection: AsyncConnection, row: Any, now: datetime) -> None:
    """End a lease that no step has ended, because the port is another one by now: somebody looks at it at once."""
    await connection.execute(
        sa.update(number_ports)
        .where(_P.id == row.id, _P.tm_lease == row.tm_lease)
        .values(tm_lease=None, tm_next=sa.case((_P.tm_next.is_(None), sa.null()), else_=now))
    )


async def open_counts(connection: AsyncConnection) -> Sequence[sa.Row[Any]]:
    """How many ports are open, by state."""
    statement = sa.select(_P.status, sa.func.count().label("ports")).where(_P.tm_end.is_(None))
    rows: Sequence[sa.Row[Any]] = (await connection.execute(statement.group_by(_P.status))).all()
    return rows
