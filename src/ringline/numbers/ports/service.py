"""What customers may do with ports. What a vendor is asked for is the worker's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

import structlog
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.clock import Clock
from ringline.errors import InvalidArgument, NotFound
from ringline.http import page_statement
from ringline.numbers.ports import store
from ringline.numbers.ports.documents import Document
from ringline.numbers.ports.errors import (
    NumberPresent,
    PortIncomplete,
    PortingUnavailable,
    PortNotFound,
    PortStateInvalid,
    TooManyPorts,
)
from ringline.numbers.ports.models import PortAnswer, PortChange, PortCreate, PortQuery, answer
from ringline.numbers.ports.states import CHANGEABLE, NumberStatus, Status, ended
from ringline.numbers.ports.tables import number_ports
from ringline.storage import Database
from ringline.storage.rows import live, one
from ringline.vendors.models import Capability
from ringline.vendors.registry import Vendors

log = structlog.get_logger(__name__)

MAX_OPEN: Final = 100
"""Ports of one customer that have not ended, drafts among them."""
_APART: Final = frozenset({"numbers", "letter", "bill", "draft"})
_CLAIMED: Final = "uq_number_port_numbers_claimed"

FlowExists = Callable[[UUID, UUID], Awaitable[bool]]


class PortService:
    """A customer's ports; ``changed`` is called when there is something to do with one at its vendor."""

    def __init__(
        self,
        database: Database,
        vendors: Vendors,
        clock: Clock,
        flow_exists: FlowExists,
        changed: Callable[[], None],
    ) -> None:
        self._database = database
        self._vendors = vendors
        self._clock = clock
        self._flow_exists = flow_exists
        self._changed = changed

    async def page(self, customer_id: UUID, query: PortQuery) -> list[Row[Any]]:
        statement = live(number_ports, customer_id)
        if query.status is not None:
            statement = statement.where(number_ports.c.status == query.status)
        async with self._database.connect() as connection:
            return list((await connection.execute(page_statement(statement, number_ports, query))).all())

    async def get(self, customer_id: UUID, port_id: UUID) -> Row[Any]:
        """One of the customer's ports. Raises ``PortNotFound``."""
        async with self._database.connect() as connection:
            return _found(await one(connection, number_ports, customer_id, port_id))

    async def shown(self, rows: Iterable[Row[Any]]) -> list[PortAnswer]:
        """Ports as the API shows them."""
        found = list(rows)
        ids = [row.id for row in found]
        async with self._database.connect() as connection:
            numbers = await store.numbers_of(connection, ids)
            documents = await store.documents_of(connection, ids)
        return [answer(row, numbers[row.id], documents[row.id]) for row in found]

    async def create(self, customer_id: UUID, wanted: PortCreate, seed: UUID | None = None) -> Row[Any]:
        """A new port, submitted if its letter came along. ``seed`` is that of an ``Idempotency-Key``.

        Raises ``InvalidArgument``, ``NumberPresent``, ``PortingUnavailable``, ``TooManyPorts``, and ``NotFound`` for
        a flow.
        """
        files = wanted.documents()
        values = await self._values(customer_id, wanted, wanted.provider_name)
        port_id = uuid4() if seed is None else uuid5(seed, "port")
        now = self._clock.now()
        try:
            async with self._database.begin() as connection:
                if seed is not None and (made := await one(connection, number_ports, customer_id, port_id)):
                    return made
                if await store.open_count(connection, customer_id) >= MAX_OPEN:
                    raise TooManyPorts(f"You have {MAX_OPEN} ports that have not ended; cancel some first.")
                await self._free(connection, customer_id, wanted.numbers, port_id)
                first = store.step(None, Status.DRAFT, "", now)
                values |= {**first, "id": port_id, "customer_id": customer_id, "tm_create": now}
                values.setdefault("owner", {})
                row = await store.insert(connection, {**values, "tm_update": None})
                await store.put_numbers(connection, port_id, wanted.numbers)
                for file in files:
                    await store.put_document(connection, port_id, file, now)
                if wanted.letter is not None and not wanted.draft:
                    row = await self._submit(connection, row, {file.kind for file in files})
        except IntegrityError as error:
            raise _claimed(error) from error
        except PortIncomplete as incomplete:
            raise InvalidArgument(
                f"{incomplete.message} Or make it a `draft`.",
                reason=incomplete.reason,
                details=incomplete.details,
            ) from None
        _log("number_port_created", row)
        self._changed()
        return row

    async def update(self, customer_id: UUID, port_id: UUID, wanted: PortChange) -> Row[Any]:
        """Change what ``wanted`` names, of a draft or an exception. Raises as ``create`` and ``submit``."""
        now = self._clock.now()
        try:
            async with self._database.begin() as connection:
                row = _changeable(await store.own_locked(connection, customer_id, port_id))
                values = await self._values(customer_id, wanted, wanted.provider_name or row.provider_name)
                if values["provider_name"] != row.provider_name and (row.reference or row.former_reference):
                    raise PortStateInvalid(
                        f"{row.provider_name} works at this port: `provider_name` cannot be changed any more."
                    )
                if "numbers" in wanted.model_fields_set:
                    await self._renumber(connection, row, wanted.numbers)
                row = await store.change(connection, port_id, {**values, "tm_update": now})
        except IntegrityError as error:
            raise _claimed(error) from error
        return row

    async def add(self, customer_id: UUID, port_id: UUID, files: Sequence[Document]) -> Row[Any]:
        """Files for a draft or an exception; each takes the place of the former one of its kind."""
        now = self._clock.now()
        async with self._database.begin() as connection:
            _changeable(await store.own_locked(connection, customer_id, port_id))
            for file in files:
                await store.put_document(connection, port_id, file, now)
            return await store.change(connection, port_id, {"tm_update": now})

    async def submit(self, customer_id: UUID, port_id: UUID) -> Row[Any]:
        """Have the numbers ported. Raises ``PortStateInvalid``, ``PortIncomplete`` and ``NumberPresent``."""
        try:
            async with self._database.begin() as connection:
                row = _changeable(await store.own_locked(connection, customer_id, port_id))
                documents = await store.documents_of(connection, [port_id])
                waiting = await _waiting(connection, port_id)
                await self._free(connection, customer_id, waiting, port_id)
                row = await self._submit(connection, row, {file.kind for file in documents[port_id]})
        except IntegrityError as error:
            raise _claimed(error) from error
        _log("number_port_submitted", row)
        self._changed()
        return row

    async def cancel(self, customer_id: UUID, port_id: UUID) -> Row[Any]:
        """Call a port off; a draft, and one that has ended, is gone then."""
        now = self._clock.now()
        async with self._database.begin() as connection:
            row = _found(await store.own_locked(connection, customer_id, port_id))
            status = Status(row.status)
            if ended(status):
                row = await store.change(connection, port_id, {"tm_delete": now})
            elif status is Status.DRAFT or (
                row.tm_sent is None and not row.reference and not row.former_reference
            ):
                # whoever is about to ask the vendor looks again before
                values = store.end(row, Status.CANCELLED, "", now)
                if status is Status.DRAFT:
                    values["tm_delete"] = now
                await store.free_numbers(connection, port_id)
                row = await store.change(connection, port_id, values)
            else:
                values = {"cancel_requested": True, "tm_update": now, **store.hint(now)}
                row = await store.change(connection, port_id, values)
        _log("number_port_cancelled", row)
        self._changed()
        return row

    async def _submit(self, connection: AsyncConnection, row: Row[Any], kinds: set[str]) -> Row[Any]:
        _check_complete(row, kinds)
        now = self._clock.now()
        values = store.step(row, Status.SUBMITTED, "", now)
        if row.reference:
            values |= {"former_request_id": row.request_id, "former_reference": row.reference}
        values |= {
            # the first one is told to the vendor by the id that we tell the customer
            "request_id": row.id if row.request_id is None else uuid4(),
            "reference": "",
            "attempts": 0,
            "tm_sent": None,
            "tm_submit": now,
            "tm_foc": None,
            **store.hint(now),
        }
        await store.claim_numbers(connection, row.id)
        return await store.change(connection, row.id, values)

    async def _renumber(self, connection: AsyncConnection, row: Row[Any], numbers: Sequence[str]) -> None:
        present = (await store.numbers_of(connection, [row.id]))[row.id]
        if any(one.status != NumberStatus.WAITING.value for one in present):
            raise PortStateInvalid(
                "Some of these numbers have been ported: `numbers` cannot be changed any more."
            )
        await self._free(connection, row.customer_id, numbers, row.id)
        await store.put_numbers(connection, row.id, numbers)
        if row.status == Status.EXCEPTION.value:
            await store.claim_numbers(connection, row.id)

    async def _values(self, customer_id: UUID, wanted: PortChange, provider_name: str) -> dict[str, Any]:
        for field in ("call_flow_id", "message_flow_id"):
            flow_id = getattr(wanted, field)
            if flow_id is not None and not await self._flow_exists(customer_id, flow_id):
                message = f"there is no flow {flow_id}; GET /v1.0/flows lists yours"
                raise NotFound(
                    f"`{field}`: {message}.",
                    reason="FLOW_NOT_FOUND",
                    details=[{"field": field, "message": message}],
                )
        values = wanted.model_dump(include=set(wanted.model_fields_set) - _APART)
        if "owner" in values and values["owner"] is None:
            values["owner"] = {}
        return {**values, "provider_name": self._provider(provider_name)}

    def _provider(self, name: str) -> str:
        able = [vendor.name for vendor in self._vendors.able(Capability.PORT)]
        if name and name not in able:
            message = f"{name} ports no numbers here" + (f"; {', '.join(able)} does" if able else "")
            raise PortingUnavailable(
                f"`provider_name`: {message}.", details=[{"field": "provider_name", "message": message}]
            )
        if not able:
            raise PortingUnavailable("No provider of this installation ports numbers.")
        return name or able[0]

    async def _free(
        self, connection: AsyncConnection, customer_id: UUID, numbers: Sequence[str], port_id: UUID
    ) -> None:
        """Raise ``NumberPresent`` where somebody here has one of these numbers or is porting it."""
        if (present := await store.present(connection, numbers)) is not None:
            who = "you have" if present.customer_id == customer_id else "another customer here has"
            raise _present(present.number, f"{who} {present.number} already")
        if (claimed := await store.claimed_by(connection, numbers, port_id)) is not None:
            whose = (
                f"your port {claimed.port_id}"
                if claimed.customer_id == customer_id
                else "a port of another customer"
            )
            raise _present(claimed.number, f"{claimed.number} is in {whose}")


async def _waiting(connection: AsyncConnection, port_id: UUID) -> list[str]:
    rows = (await store.numbers_of(connection, [port_id]))[port_id]
    return [row.number for row in rows if row.status == NumberStatus.WAITING.value]


def _check_complete(row: Row[Any], kinds: set[str]) -> None:
    asked = {
        "carrier": row.carrier,
        "account_number": row.account_number,
        "owner": row.owner,
        "authorised_person": row.authorised_person,
        "letter": "letter" in kinds,
    }
    missing = [name for name, given in asked.items() if not given]
    if missing:
        raise PortIncomplete(
            f"A port cannot be submitted without {', '.join(f'`{name}`' for name in missing)}.",
            details=[{"field": name, "message": "is missing"} for name in missing],
        )


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise PortNotFound("There is no such port; GET /v1.0/number_ports lists yours.")
    return row


def _changeable(found: Row[Any] | None) -> Row[Any]:
    row = _found(found)
    if Status(row.status) not in CHANGEABLE or row.cancel_requested:
        state = "being cancelled" if row.cancel_requested else f"`{row.status}`"
        raise PortStateInvalid(
            f"The port is {state}; it can be changed and submitted while it is `draft` or `exception`."
        )
    return row


def _present(number: str, message: str) -> NumberPresent:
    return NumberPresent(
        f"`numbers`: {message}.", details=[{"field": "numbers", "number": number, "message": message}]
    )


def _claimed(error: IntegrityError) -> Exception:
    """Two submitted a number in the same moment."""
    if _CLAIMED in str(error.orig):
        return NumberPresent("`numbers`: one of them is in another port.")
    return error


def _log(event: str, row: Row[Any]) -> None:
    log.info(event, port_id=str(row.id), customer_id=str(row.customer_id), status=row.status)
