"""What may happen to conferences and to the calls in them: made, looked at, changed, ended, joined, kicked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4, uuid5

import structlog

from ringline.billing import tiers
from ringline.calls.call import ZERO, Call
from ringline.calls.leg import Left, Leg
from ringline.calls.recording import RecordingWanted
from ringline.clock import Clock
from ringline.conferences import store
from ringline.conferences.recording import ConferenceRecordings, Recorder
from ringline.conferences.records import Conference, Conferencecall, RawAction
from ringline.conferences.rooms import Rooms
from ringline.conferences.states import ConferenceStatus
from ringline.conferences.timeouts import Timeouts
from ringline.errors import FailedPrecondition, NotFound
from ringline.flows.actions.services import Seat
from ringline.http import Page, PageQuery, page_of, page_statement, utc_now
from ringline.storage import Database, rows

log = structlog.get_logger(__name__)
_TIER = tiers.Tier(
    "conferences",
    store.conferences,
    "End one (DELETE /v1.0/conferences/{id})",
    more=(store.conferences.c.status != ConferenceStatus.TERMINATED.value,),
)


class StoredFlows(Protocol):
    """The flows that customers keep (``flows.definitions.FlowDefinitions``). Raises ``NotFound``."""

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[RawAction]: ...


class ConferenceService:
    """Conferences for the API and for the actions that join them (``flows.actions.services.Conferences``)."""

    def __init__(
        self, database: Database, rooms: Rooms, recorder: Recorder, flows: StoredFlows, clock: Clock
    ) -> None:
        self._database = database
        self.rooms = rooms
        self.recordings = ConferenceRecordings(database, rooms, recorder)
        self._flows = flows
        self._timeouts = Timeouts(database, clock, rooms.end)

    async def start(self) -> None:
        """Begin to write and to watch the time; what is being recorded is found before this."""
        await self.rooms.start()
        await self.recordings.start()
        await self._timeouts.start()

    async def close(self) -> None:
        """Leave everybody where they are: the calls outlive this process."""
        await self._timeouts.close()
        await self.rooms.close()
        await self.recordings.close()

    # conferences

    async def create(self, customer_id: UUID, fields: dict[str, Any], seed: UUID | None = None) -> Conference:
        """Make a conference. ``seed`` is that of an ``Idempotency-Key``: its id follows from it.

        Raises ``NotFound`` for a flow that the customer does not have.
        """
        await self._check_flows(customer_id, fields)
        now = utc_now()
        row = {
            "id": uuid4() if seed is None else uuid5(seed, "conference"),
            "customer_id": customer_id,
            "status": ConferenceStatus.PROGRESSING.value,
            "tm_create": now,
            "tm_timeout": _timeout_at(now, fields["timeout"]),
            **fields,
        }
        async with self._database.begin() as connection:
            if seed is None or await rows.one(connection, store.conferences, customer_id, row["id"]) is None:
                await tiers.check(connection, customer_id, _TIER)
            created = await store.insert(connection, row)
        if created is None:
            # an earlier request with the same key has made it
            return await self.get(customer_id, row["id"])
        self._timeouts.changed()
        return Conference.of_row(created)

    async def get(self, customer_id: UUID, conference_id: UUID) -> Conference:
        """One conference of the customer, as it stands. Raises ``NotFound``."""
        await self._written()
        async with self._database.connect() as connection:
            row = await rows.one(connection, store.conferences, customer_id, conference_id)
        return self._fresh(_found(row, conference_id))

    async def page(
        self, customer_id: UUID, query: PageQuery, filters: dict[str, Any], build: Callable[[Conference], Any]
    ) -> Page[Any]:
        """A page of the customer's conferences, newest first."""
        await self._written()
        statement = page_statement(
            store.listing(store.conferences, customer_id, filters), store.conferences, query
        )
        async with self._database.connect() as connection:
            found = (await connection.execute(statement)).all()
        return page_of(found, query, lambda row: build(self._fresh(row)))

    async def update(self, customer_id: UUID, conference_id: UUID, changes: dict[str, Any]) -> Conference:
        """Change a conference. Raises ``NotFound``, and ``FailedPrecondition`` for one that has ended."""
        await self._check_flows(customer_id, changes)
        known = await self.get(customer_id, conference_id)
        if known.ending:
            raise FailedPrecondition(
                f"The conference {conference_id} has ended; it cannot be changed any more.",
                reason="CONFERENCE_TERMINATED",
            )
        if "timeout" in changes:
            changes = {**changes, "tm_timeout": _timeout_at(known.tm_create, changes["timeout"])}
        async with self._database.begin() as connection:
            row = await rows.change(
                connection,
                store.conferences,
                customer_id,
                conference_id,
                {**changes, "tm_update": utc_now()},
            )
        conference = Conference.of_row(_found(row, conference_id))
        self.rooms.changed(conference)
        self._timeouts.changed()
        return self.rooms.conference(customer_id, conference_id) or conference

    async def delete(self, customer_id: UUID, conference_id: UUID) -> Conference:
        """End the conference and take it out of sight: everybody leaves, and their flows go on."""
        async with self._database.begin() as connection:
            row = await store.remove(connection, customer_id, conference_id, utc_now())
        return self.rooms.end(Conference.of_row(_found(row, conference_id)))

    async def record(self, customer_id: UUID, conference_id: UUID, wanted: RecordingWanted) -> Conference:
        """Begin to record what is said in the conference.

        Raises ``NotFound``, ``FailedPrecondition`` (``RECORDING_ALREADY_ACTIVE``, ``CONFERENCE_EMPTY``) and
        ``Unavailable``.
        """
        conference = await self.get(customer_id, conference_id)
        await self.recordings.begin(conference, wanted)
        return conference

    async def stop_recording(self, customer_id: UUID, conference_id: UUID) -> Conference:
        """End the recording that runs. Raises ``NotFound``, ``FailedPrecondition`` (``RECORDING_NOT_ACTIVE``)."""
        await self.recordings.end(await self.get(customer_id, conference_id))
        return await self.get(customer_id, conference_id)

    def members(self, conference: Conference) -> list[Conferencecall]:
        """Who is in it or on the way."""
        return self.rooms.members(conference)

    # conferencecalls

    async def call(self, customer_id: UUID, conferencecall_id: UUID) -> Conferencecall:
        """One conferencecall of the customer, as it stands. Raises ``NotFound``."""
        member = self.rooms.member(customer_id, conferencecall_id)
        if member is not None:
            return member
        await self.rooms.written_calls.written()
        async with self._database.connect() as connection:
            row = await store.conferencecall(connection, customer_id, conferencecall_id)
        if row is None:
            raise NotFound(
                f"There is no conferencecall {conferencecall_id}.", reason="CONFERENCECALL_NOT_FOUND"
            )
        return self._fresh_call(row)

    async def call_page(
        self,
        customer_id: UUID,
        query: PageQuery,
        filters: dict[str, Any],
        build: Callable[[Conferencecall], Any],
    ) -> Page[Any]:
        """A page of the customer's conferencecalls, newest first."""
        await self.rooms.written_calls.written()
        statement = page_statement(
            store.listing(store.conferencecalls, customer_id, filters), store.conferencecalls, query
        )
        async with self._database.connect() as connection:
            found = (await connection.execute(statement)).all()
        return page_of(found, query, lambda row: build(self._fresh_call(row)))

    async def kick(self, customer_id: UUID, conferencecall_id: UUID) -> Conferencecall:
        """Have a call leave its conference; its flow goes on. On one that has left nothing more happens."""
        member = await self.call(customer_id, conferencecall_id)
        self.rooms.kick(member)
        return member

    # joining

    async def enter(
        self,
        call: Call,
        conference_id: UUID,
        conferencecall_id: UUID,
        *,
        activeflow_id: UUID = ZERO,
        fresh: bool = True,
        resumed: bool = False,
    ) -> Seat:
        """Admit a call to a conference; see ``Rooms.enter``."""
        conference, member = await self.rooms.enter(
            call,
            conference_id,
            conferencecall_id,
            activeflow_id=activeflow_id,
            fresh=fresh,
            resumed=resumed,
        )
        before: list[RawAction] = []
        if member is not None and fresh and member.tm_progressing is None:
            before = await self._actions(conference, conference.pre_flow_id, conference.pre_actions)
        if before:
            # its flow finds it again by its row, should this process end meanwhile
            await self.rooms.written_calls.written()
        return Seat(
            over=member is None,
            before=before,
            variables=_variables(conference, conferencecall_id, call),
        )

    async def stay(self, leg: Leg, conference_id: UUID, conferencecall_id: UUID) -> list[RawAction]:
        """Be in the conference until it ends, the call is kicked or hangs up; what the participant does then."""
        customer_id = leg.call.customer_id
        conference = self.rooms.conference(customer_id, conference_id)
        await self.rooms.stay(leg, conferencecall_id)
        if conference is None:
            return []
        return await self._actions(conference, conference.post_flow_id, conference.post_actions)

    async def join(
        self, leg: Leg, conference_id: UUID, conferencecall_id: UUID | None = None, *, resumed: bool = False
    ) -> Left:
        """Be in a conference without its pre- and post-flow: for legs that are connected with one.

        ``conferencecall_id`` is that of a stay that began before a restart. Raises as ``enter``, and ``LegGone`` and
        ``LegError``.
        """
        chosen = conferencecall_id or uuid4()
        _, member = await self.rooms.enter(
            leg.call, conference_id, chosen, activeflow_id=leg.call.activeflow_id, fresh=True, resumed=resumed
        )
        return Left.DISSOLVED if member is None else await self.rooms.stay(leg, chosen)

    # steps

    async def _written(self) -> None:
        """Wait for what a request has just done to be in the table."""
        await self.rooms.written_conferences.written()
        await self.recordings.written()

    def _fresh(self, row: Any) -> Conference:
        """The conference as it stands now: what happens in it is written a little later."""
        return self.rooms.conference(row.customer_id, row.id) or Conference.of_row(row)

    def _fresh_call(self, row: Any) -> Conferencecall:
        return self.rooms.member(row.customer_id, row.id) or Conferencecall.of_row(row)

    async def _actions(
        self, conference: Conference, flow_id: UUID, actions: list[RawAction]
    ) -> list[RawAction]:
        """A participant's way in or out; a flow that was deleted meanwhile is left out."""
        if flow_id == ZERO:
            return actions
        try:
            return await self._flows.actions(conference.customer_id, flow_id)
        except NotFound:
            log.warning("conference_flow_missing", conference_id=str(conference.id), flow_id=str(flow_id))
            return []

    async def _check_flows(self, customer_id: UUID, fields: dict[str, Any]) -> None:
        for name in ("pre_flow_id", "post_flow_id"):
            flow_id = fields.get(name, ZERO)
            if flow_id == ZERO:
                continue
            try:
                await self._flows.actions(customer_id, flow_id)
            except NotFound:
                raise NotFound(f"{name}: there is no flow {flow_id}", reason="FLOW_NOT_FOUND") from None

    async def has_flow(self, customer_id: UUID, flow_id: UUID) -> bool:
        """Whether the customer keeps such a flow."""
        try:
            await self._flows.actions(customer_id, flow_id)
        except NotFound:
            return False
        return True


def _timeout_at(created: datetime, timeout: int) -> datetime | None:
    return created + timedelta(seconds=timeout) if timeout else None


def _found(row: Any, conference_id: UUID) -> Any:
    if row is None:
        raise NotFound(f"There is no conference {conference_id}.", reason="CONFERENCE_NOT_FOUND")
    return row


def _variables(conference: Conference, conferencecall_id: UUID, call: Call) -> dict[str, str]:
    """What a participant's flow may know (VoIPBIN's names)."""
    return {
        "voipbin.conference.id": str(conference.id),
        "voipbin.conference.type": conference.type,
        "voipbin.conference.name": conference.name,
        "voipbin.conference.detail": conference.detail,
        "voipbin.confbridge.id": str(conference.id),
        "voipbin.conferencecall.id": str(conferencecall_id),
        "voipbin.conferencecall.conference_id": str(conference.id),
        "voipbin.conferencecall.reference_type": "call",
        "voipbin.conferencecall.reference_id": str(call.id),
    }
