"""Conferences that somebody is in: who they are, what they hear of each other's coming and going, how it ends.

The truth about who is in a conference is here, in memory, while anybody is; rows are written behind. A call is
admitted by ``enter`` and sits in the bridge during ``stay``. Whatever ends that (kicked, the conference over, hung
up, the flow stopped), ``_part`` is the one place where it leaves the books.
"""

from __future__ import annotations

from uuid import UUID

import structlog

from ringline import ari
from ringline.calls.call import Call
from ringline.calls.leg import Left, Leg, LegError, LegGone
from ringline.calls.membership import Gatherings
from ringline.clock import Clock
from ringline.conferences import models, store
from ringline.conferences.announcements import Announcements
from ringline.conferences.records import Conference, Conferencecall
from ringline.conferences.states import ConferencecallStatus, ConferenceStatus
from ringline.errors import FailedPrecondition, NotFound
from ringline.storage import Database, WriteBehind, rows

log = structlog.get_logger(__name__)

MAX_PARTICIPANTS = 100
"""Calls in one conference: each costs a mix of all others, 50 times a second."""
MAX_LOSSES = 3
"""Bridges that a call may lose before it gives the conference up."""
CLAIM_SECONDS = 30.0
"""How long after a restart a call may take to come back to the conference that it was in."""
_PARTED = (400, 404, 409, 422)
"""What Asterisk answers where a channel is in that bridge no more."""

Key = tuple[UUID, UUID]


class Room:
    """A conference with those in it; ``conference`` is ``None`` until its row was read.

    ``entering`` counts calls that wait for that; ``over``: it ended while they waited. ``unclaimed``: who was in it
    in another life of the controller and has not come back yet. ``met``: two were in it at a time.
    """

    __slots__ = ("conference", "entering", "inherited", "key", "members", "met", "over", "unclaimed")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.conference: Conference | None = None
        self.members: dict[UUID, Conferencecall] = {}
        self.unclaimed: set[UUID] = set()
        self.entering = 0
        self.inherited = self.over = self.met = False

    @property
    def inside(self) -> int:
        """How many are in the bridge."""
        return sum(member.status is ConferencecallStatus.PROGRESSING for member in self.members.values())


class Rooms:
    """All conferences that anybody is in or about to join."""

    def __init__(
        self,
        database: Database,
        client: ari.Client,
        gatherings: Gatherings,
        announcements: Announcements,
        clock: Clock,
    ) -> None:
        self._database = database
        self._client = client
        self._gatherings = gatherings
        self._announcements = announcements
        self._clock = clock
        self.written_calls = WriteBehind(
            database,
            store.CONFERENCECALL,
            Conferencecall.row,
            name="conferencecalls",
            telling=models.call_telling(),
        )
        self.written_conferences = WriteBehind(database, store.PROGRESS, Conference.row, name="conferences")
        self._rooms: dict[Key, Room] = {}
        self._of_call: dict[UUID, tuple[Room, Conferencecall]] = {}
        self._members: dict[UUID, Conferencecall] = {}
        self._restored_at = 0.0
        self._closed = False

    # life

    async def start(self) -> None:
        await self.written_calls.start()
        await self.written_conferences.start()

    async def close(self) -> None:
        """Leave everybody where they are: the calls outlive this process."""
        self._closed = True
        await self.written_calls.close()
        await self.written_conferences.close()

    async def restore(self) -> None:
        """Take over what another life of the controller left: who was in which conference, and their bridges.

        Their flows bring those who are still there back by ``enter`` and ``stay``; ``sweep`` parts the others.
        """
        async with self._database.connect() as connection:
            calls, conferences = await store.unfinished(connection)
        self._restored_at = self._clock.monotonic()
        for row in conferences:
            room = self._room((row.customer_id, row.id))
            room.conference = Conference.of_row(row)
        for row in calls:
            member = Conferencecall.of_row(row)
            room = self._room((member.customer_id, member.conference_id))
            self._book(room, member)
            room.unclaimed.add(member.id)
            room.inherited = True
        for room in list(self._rooms.values()):
            self._settle_restored(room)

    def _settle_restored(self, room: Room) -> None:
        conference = room.conference
        if conference is None:
            for member in list(room.members.values()):
                self._part(room, member)
            self._rooms.pop(room.key, None)
            return
        if room.members:
            room.met = room.inside > 1
            self._gatherings.expect(conference.bridge)
        self._finish_if_empty(room)
        self._forget_if_idle(room)

    def sweep(self, live: dict[UUID, Call]) -> None:
        """Part those who will not come back after a restart: their calls are gone, or do something else by now."""
        if self._clock.monotonic() - self._restored_at < CLAIM_SECONDS / 3:
            return
        late = self._clock.monotonic() - self._restored_at > CLAIM_SECONDS
        for room in [room for room in self._rooms.values() if room.unclaimed]:
            for member in [room.members[member_id] for member_id in room.unclaimed]:
                call = live.get(member.reference_id)
                if call is None:
                    self._part(room, member)
                elif late and member.status is not ConferencecallStatus.JOINING and room.conference:
                    self._client.tell(
                        "POST",
                        f"bridges/{room.conference.bridge}/removeChannel",
                        query={"channel": call.channel_id},
                        key=str(call.id),
                        ignore=_PARTED,
                    )
                    self._part(room, member)

    # looking

    def members(self, conference: Conference) -> list[Conferencecall]:
        """Who is in it or on the way, in the order of their coming."""
        room = self._rooms.get((conference.customer_id, conference.id))
        return [] if room is None else list(room.members.values())

    def inside(self, conference: Conference) -> int:
        """How many are in its bridge."""
        room = self._rooms.get((conference.customer_id, conference.id))
        return 0 if room is None else room.inside

    def member(self, customer_id: UUID, conferencecall_id: UUID) -> Conferencecall | None:
        """A stay of this customer that is not over."""
        member = self._members.get(conferencecall_id)
        return None if member is None or member.customer_id != customer_id else member

    def conference(self, customer_id: UUID, conference_id: UUID) -> Conference | None:
        """The conference as it stands, where somebody is in it."""
        room = self._rooms.get((customer_id, conference_id))
        return None if room is None else room.conference

    def owns(self, resource_id: UUID) -> bool:
        """Whether this is a stay that is not over, or a conference with somebody in it, here."""
        return resource_id in self._members or any(conference == resource_id for _, conference in self._rooms)

    # coming

    async def enter(
        self,
        call: Call,
        conference_id: UUID,
        conferencecall_id: UUID,
        *,
        activeflow_id: UUID,
        fresh: bool,
        resumed: bool,
    ) -> tuple[Conference, Conferencecall | None]:
        """Admit a call: its stay begins as ``joining``. ``None`` in its place: that stay is over already.

        ``fresh``: the id was chosen for this stay, which may begin now; otherwise it began before. ``resumed``: it
        may have begun in another life of the controller. Raises ``NotFound`` for an unknown or foreign
        conference, ``FailedPrecondition`` for one that has ended or is full.
        """
        room = self._room((call.customer_id, conference_id))
        room.entering += 1
        try:
            conference = await self._loaded(room)
            member = room.members.get(conferencecall_id)
            if member is not None:
                return conference, member if member.reference_id == call.id else None
            if not fresh or (resumed and await self._stored(call, conferencecall_id)):
                return conference, None
            await self._announcements.prepare(conference)
            return conference, self._admit(room, conference, call, conferencecall_id, activeflow_id)
        finally:
            room.entering -= 1
            self._forget_if_idle(room)

    async def _loaded(self, room: Room) -> Conference:
        if room.conference is None:
            customer_id, conference_id = room.key
            home = self._database.home
            # what was done a moment ago may not be in its row yet
            await self.written_conferences.written()
            async with self._database.connect() as connection:
                row = await rows.one(connection, store.conferences, customer_id, conference_id)
                if row is None:
                    raise NotFound(
                        f"conference_id: there is no conference {conference_id}",
                        reason="CONFERENCE_NOT_FOUND",
                    )
                if home and not await store.gather_here(connection, customer_id, conference_id, home):
                    raise FailedPrecondition(
                        "conference_id: those in this conference are on another media server;"
                        " a conference takes place on one.",
                        reason="CONFERENCE_ELSEWHERE",
                    )
            if room.conference is None:
                room.conference = Conference.of_row(row)
                if room.over:
                    room.conference.advance(ConferenceStatus.TERMINATED, self._clock.now())
        return room.conference

    async def _stored(self, call: Call, conferencecall_id: UUID) -> bool:
        """Whether a stay was written, and so is over when nobody here has it."""
        async with self._database.connect() as connection:
            row = await store.conferencecall(connection, call.customer_id, conferencecall_id)
        return row is not None

    def _admit(
        self,
        room: Room,
        conference: Conference,
        call: Call,
        conferencecall_id: UUID,
        activeflow_id: UUID,
    ) -> Conferencecall:
        if call.ending:
            raise LegGone
        if conference.ending:
            raise FailedPrecondition(
                f"the conference {conference.id} has ended", reason="CONFERENCE_TERMINATED"
            )
        if len(room.members) >= MAX_PARTICIPANTS:
            raise FailedPrecondition(
                f"the conference {conference.id} is full: {MAX_PARTICIPANTS} calls are in it",
                reason="CONFERENCE_FULL",
            )
        stale = self._of_call.get(call.id)
        if stale is not None:
            # a flow that went elsewhere from within its pre-flow: a call is in one conference at a time
            self._part(*stale)
        member = Conferencecall(
            conferencecall_id,
            call.customer_id,
            conference.id,
            call.id,
            self._clock.now(),
            activeflow_id=activeflow_id,
        )
        self._book(room, member)
        self.written_calls.touch(member)
        return member

    def _book(self, room: Room, member: Conferencecall) -> None:
        room.members[member.id] = self._members[member.id] = member
        self._of_call[member.reference_id] = room, member

    async def stay(self, leg: Leg, conferencecall_id: UUID) -> Left:
        """Be in the conference until something ends that. Raises ``LegGone`` and ``LegError``."""
        room, member = self._of_call.get(leg.call.id, (None, None))
        if room is None or member is None or member.id != conferencecall_id or room.conference is None:
            return Left.DISSOLVED  # it was over before it began
        room.unclaimed.discard(member.id)
        try:
            return await self._sit(leg, room, member, room.conference.bridge)
        finally:
            self._part(room, member)

    async def _sit(self, leg: Leg, room: Room, member: Conferencecall, bridge: str) -> Left:
        """Be in the bridge; where it is lost, which is nobody's wish, all of them meet in a new one."""
        for _ in range(MAX_LOSSES):
            try:
                return await leg.join_bridge(bridge, joined=lambda: self._joined(room, member))
            except LegError as error:
                if error.reason != "BRIDGE_LOST" or member.status is not ConferencecallStatus.PROGRESSING:
                    raise
            log.warning("conference_bridge_lost", conference_id=str(member.conference_id))
        return await leg.join_bridge(bridge, joined=lambda: self._joined(room, member))

    def _joined(self, room: Room, member: Conferencecall) -> None:
        conference = room.conference
        if conference is None or member.over:
            return
        if member.status is ConferencecallStatus.TERMINATING:
            # asked to leave while its flow was on the way back from a restart
            self._gatherings.release(member.reference_id)
            return
        if member.advance(ConferencecallStatus.PROGRESSING, self._clock.now()):
            self.written_calls.touch(member)
            self._announcements.joined(conference)
        room.met = room.met or room.inside > 1
        self._announcements.tune(conference, room.inside)

    # going

    def kick(self, member: Conferencecall, left: Left = Left.KICKED) -> None:
        """Have a call leave; its flow goes on. Harmless where it is leaving."""
        room, _ = self._of_call.get(member.reference_id, (None, None))
        if room is None or member.id not in room.members:
            return
        conference = room.conference
        if conference is not None and self._gatherings.where(member.reference_id) == conference.bridge:
            if member.advance(ConferencecallStatus.TERMINATING, self._clock.now()):
                self.written_calls.touch(member)
            self._gatherings.release(member.reference_id, left)
        elif member.id in room.unclaimed and member.status is not ConferencecallStatus.JOINING:
            # it is in the bridge and its flow is not back yet: it leaves as soon as that is
            if member.advance(ConferencecallStatus.TERMINATING, self._clock.now()):
                self.written_calls.touch(member)
        else:
            self._part(room, member)

    def end(self, conference: Conference) -> Conference:
        """The conference is over, as its row says: everybody leaves, their flows go on, nobody joins any more."""
        room = self._rooms.get((conference.customer_id, conference.id))
        if room is not None and room.conference is None:
            room.over = True
        elif room is not None and room.conference is not None:
            room.conference.take(conference)
            conference = room.conference
        now = self._clock.now()
        members = [] if room is None else list(room.members.values())
        if conference.advance(
            ConferenceStatus.TERMINATING if members else ConferenceStatus.TERMINATED, now
        ) or (not members and conference.advance(ConferenceStatus.TERMINATED, now)):
            self.written_conferences.touch(conference)
        for member in members:
            self.kick(member, Left.DISSOLVED)
        return conference

    def changed(self, conference: Conference) -> None:
        """Its owner changed the conference."""
        room = self._rooms.get((conference.customer_id, conference.id))
        if room is not None and room.conference is not None:
            room.conference.take(conference)
            self._announcements.tune(room.conference, room.inside)

    def call_ended(self, call: Call) -> None:
        """The call has its final record (``Switchboard.watchers``)."""
        found = self._of_call.get(call.id)
        if found is not None:
            self._part(*found)

    def _part(self, room: Room, member: Conferencecall) -> None:
        """A stay is over, whatever ended it. Harmless for one that is over already."""
        if self._closed or room.members.get(member.id) is not member:
            return
        was_inside = member.tm_progressing is not None
        member.advance(ConferencecallStatus.TERMINATED, self._clock.now())
        self.written_calls.touch(member)
        del room.members[member.id], self._members[member.id]
        room.unclaimed.discard(member.id)
        if self._of_call.get(member.reference_id) == (room, member):
            del self._of_call[member.reference_id]
        conference = room.conference
        if conference is None:
            return
        if was_inside:
            self._announcements.left(conference, room.inside)
            if conference.type == "connect" and room.met and room.inside == 1 and not conference.ending:
                # two were connected and one is gone
                self.end(conference)
        if room.inherited and not room.unclaimed:
            room.inherited = False
            self._gatherings.settle(conference.bridge)
        self._finish_if_empty(room)
        self._forget_if_idle(room)

    def _finish_if_empty(self, room: Room) -> None:
        conference = room.conference
        if conference is None or not conference.ending or room.members:
            return
        if conference.advance(ConferenceStatus.TERMINATED, self._clock.now()):
            self.written_conferences.touch(conference)

    def _room(self, key: Key) -> Room:
        room = self._rooms.get(key)
        if room is None:
            room = self._rooms[key] = Room(key)
        return room

    def _forget_if_idle(self, room: Room) -> None:
        if not room.members and not room.entering and self._rooms.get(room.key) is room:
            del self._rooms[room.key]
            if room.conference is not None:
                self._announcements.forget(room.conference)
