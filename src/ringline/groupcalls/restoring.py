"""Groupcalls of a controller that died ring on (``calls.recovery.Part``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import structlog

from ringline.calls.call import ZERO, Call
from ringline.calls.caller import Anonymity
from ringline.calls.line import CallHooks, Start
from ringline.calls.ordering import Ordering, Plan
from ringline.calls.recovery import Found
from ringline.calls.switchboard import Switchboard
from ringline.errors import RinglineError
from ringline.flows import store as flow_store
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.snapshot import Snapshot
from ringline.groupcalls import store
from ringline.groupcalls.groupcall import Groupcall, Status, of_row
from ringline.groupcalls.ring import Ring
from ringline.groupcalls.rings import PART, Awaited, Prepare, Rings, derived
from ringline.http import utc_now
from ringline.storage import Database

log = structlog.get_logger(__name__)

AWAIT_SECONDS = 10.0
"""How long a groupcall waits for the connection that it was made for."""


class Restoring:
    """Puts groupcalls together again from what was kept, and from their rows."""

    def __init__(
        self,
        database: Database,
        rings: Rings,
        switchboard: Switchboard,
        ordering: Ordering,
        flows: CallHooks,
    ) -> None:
        self._database = database
        self._rings = rings
        self._switchboard = switchboard
        self._ordering = ordering
        self._flows = flows

    async def restore(self, found: Found) -> None:
        """Called once, when all calls are there and before any flow goes on."""
        records = await self._records(found.kept(PART))
        templates = await self._templates(records)
        rings: list[Ring] = []
        for record in records.values():
            if record.master_groupcall_id not in records:
                inner = [one for one in records.values() if one.master_groupcall_id == record.id]
                rings.append(self._revive(record, inner, templates))
        for ring in rings:
            self._go_on(ring)
        if rings:
            log.info("groupcalls_recovered", groupcalls=len(rings))

    async def _records(self, kept: Mapping[str, Any]) -> dict[UUID, Groupcall]:
        """Every groupcall without an end; what was kept is newer than the rows."""
        async with self._database.connect() as connection:
            records = {(one := of_row(row)).id: one for row in await store.unfinished(connection)}
        for key, row in kept.items():
            try:
                record = _of_kept(row)
            except (KeyError, TypeError, ValueError) as error:
                log.error("groupcall_not_recovered", groupcall_id=key, error=repr(error))
                continue
            records[record.id] = record
        return {key: record for key, record in records.items() if not record.ended}

    async def _templates(self, records: Mapping[UUID, Groupcall]) -> dict[UUID, Activeflow]:
        """The flow of a leg of each groupcall: it ran on none but the winner, so it is as it was made."""
        owners = {call_id: record.id for record in records.values() for call_id in record.call_ids}
        if not owners:
            return {}
        async with self._database.connect() as connection:
            rows = await flow_store.of_references(connection, list(owners))
        return {owners[UUID(int=row.reference_id.int)]: Activeflow.from_row(row._asdict()) for row in rows}

    def _revive(
        self, record: Groupcall, inner: list[Groupcall], templates: Mapping[UUID, Activeflow]
    ) -> Ring:
        template = next((templates[one.id] for one in (record, *inner) if one.id in templates), None)
        master = self._switchboard.live(record.master_call_id)
        outer: CallHooks = Awaited() if template is None else self._flows
        root = Ring(self._rings, record, self._plans(record, master), outer=outer, next_id=derived)
        within = [
            Ring(
                self._rings,
                one,
                self._plans(one, master),
                outer=outer,
                parent=root,
                next_id=derived,
            )
            for one in inner
        ]
        root.closed = record.answered or record.status is not Status.PROGRESSING
        prepare = None if template is None else _copies(template)
        self._rings.revive(root, within, prepare=prepare, start=Start.ON_ANSWER, master=master)
        return root

    def _go_on(self, ring: Ring) -> None:
        record = ring.groupcall
        if record.status is Status.HANGINGUP or (
            record.master_call_id != ZERO and self._switchboard.live(record.master_call_id) is None
        ):
            ring.hang_up()
            return
        for within in list(ring.rings):
            within.step()
        ring.step()
        if isinstance(ring.outer, Awaited):
            asyncio.get_running_loop().call_later(AWAIT_SECONDS, self._give_up, ring)

    def _give_up(self, ring: Ring) -> None:
        if isinstance(ring.outer, Awaited) and not ring.groupcall.ended:
            log.warning("groupcall_unclaimed", groupcall_id=str(ring.groupcall.id))
            ring.hang_up()

    def _plans(self, record: Groupcall, master: Call | None) -> list[Plan | None]:
        """How the destinations that were not begun with are called; ``None`` for one that no more can be."""
        plans: list[Plan | None] = []
        for index, destination in enumerate(record.destinations):
            if index < record.dial_index or record.answered:
                plans.append(None)
                continue
            anonymous: Anonymity = record.anonymous  # type: ignore[assignment]  # as it was checked when it was made
            try:
                if master is not None:
                    plans += self._ordering.plans_from(
                        master, record.source, [destination], anonymous, counted=False
                    )
                else:
                    customer = self._ordering.customer(record.customer_id)
                    plans.append(
                        self._ordering.plan(customer, record.source, destination, "destinations", anonymous)
                    )
            except RinglineError as error:
                log.info("destination_left_out", groupcall_id=str(record.id), why=error.message)
                plans.append(None)
        return plans


def _copies(template: Activeflow) -> Prepare:
    def prepare() -> Activeflow:
        return replace(
            template,
            id=uuid4(),
            snapshot=Snapshot(variables=dict(template.snapshot.variables)),
            status=ActiveflowStatus.NONE,
            reason="",
            reference_id=ZERO,
            stored=False,
            tm_create=utc_now(),
            tm_update=None,
        )

    return prepare


def _of_kept(row: Mapping[str, Any]) -> Groupcall:
    """The groupcall of a row that went through JSON."""
    read: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(("id", "customer_id", "flow_id", "answer_call_id", "answer_groupcall_id"), UUID),
        **dict.fromkeys(("master_call_id", "master_groupcall_id"), UUID),
        **dict.fromkeys(("call_ids", "groupcall_ids"), lambda ids: [UUID(one) for one in ids]),
        **dict.fromkeys(
            ("tm_create", "tm_hangup", "tm_update", "tm_delete"),
            lambda text: None if text is None else datetime.fromisoformat(text),
        ),
    }
    return of_row(SimpleNamespace(**{name: read.get(name, _same)(value) for name, value in row.items()}))


def _same(value: Any) -> Any:
    return value
