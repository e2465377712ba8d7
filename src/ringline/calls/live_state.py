"""What a successor of this controller needs of its calls and flows, in Redis as soon as it has changed.

PostgreSQL is written some 200 ms behind (``calls.journal``): too late for a process that is killed. Here what changed
in one turn of the event loop is sent at its end, in one write that nobody waits for; it is in the kernel's hands when
the requests to Asterisk are that were made in the same turn. A call's record stays until its final row is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import orjson
import structlog
from redis.exceptions import RedisError

from ringline.calls import metrics
from ringline.calls.call import Call
from ringline.calls.line import Line
from ringline.storage import Live
from ringline.storage.home import FIRST
from ringline.storage.pipe import Command, Pipe

log = structlog.get_logger(__name__)

CALLS = "ringline:live:calls"
"""Hash: call id -> the call's row, its line and its leg (``Line.kept``)."""
FLOWS = "ringline:live:flows"
"""Hash: activeflow id -> its row without actions."""
ACTIONS = "ringline:live:actions"
"""Hash: ``<activeflow id>:<n>`` -> a list of actions. Lists do not change: each is written once."""
PARTS = "ringline:live:parts"
"""Hash: ``<part>/<key>`` -> what a service keeps that belongs to no flow."""
LOAD_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is kept: hashes, and in ``last`` the epoch whose hashes are to be read.

    Each lease of an Asterisk has a place of its own: one who has lost the lease and does not know it yet (a frozen
    process) writes where nobody looks any more.
    """

    calls: str = CALLS
    flows: str = FLOWS
    actions: str = ACTIONS
    parts: str = PARTS
    last: str = ""

    @property
    def all(self) -> tuple[str, str, str, str]:
        return self.calls, self.flows, self.actions, self.parts


def place_of(name: str, epoch: int | str) -> Place:
    """The place of a lease; that of the only Asterisk of a small installation has no name."""
    if not name:
        return Place()
    at = f"ringline:live:{name}"
    return Place(
        calls=f"{at}:{epoch}:calls",
        flows=f"{at}:{epoch}:flows",
        actions=f"{at}:{epoch}:actions",
        parts=f"{at}:{epoch}:parts",
        last=f"{at}:last",
    )


class KeptFlow(Protocol):
    """A running flow as it is kept (``flows.activeflow.Activeflow``)."""

    @property
    def id(self) -> UUID: ...

    @property
    def reference_id(self) -> UUID: ...

    def kept(self) -> tuple[dict[str, Any], list[list[Any]]]:
        """Its row, in which lists of actions are numbers, and those lists in the order of their numbers."""


@dataclass(slots=True)
class Kept:
    """What Redis held: records by id, as JSON; those that nobody can read are left out, and counted."""

    calls: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    flows: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    unreadable: int = 0


class LiveState:
    """Marks what changed and writes it. Until ``start`` nothing is written."""

    def __init__(self, live: Live, name: str = "", epoch: int = 0) -> None:
        """``name`` and ``epoch`` are those of the lease of the Asterisk, where several processes could drive it."""
        self._live = live
        self._asterisk = name
        self._epoch = epoch
        self._place = place_of(name, epoch)
        self._former = self._place
        self._pipe = Pipe(live.url, self._write_all)
        self._calls: set[UUID] = set()
        self._flows: dict[UUID, KeptFlow | None] = {}
        self._lists: dict[UUID, dict[int, tuple[str, list[Any]]]] = {}
        self._named = 0
        self._parts: dict[str, bytes] = {}
        self._scheduled = False
        self._frozen = False
        self.line_of: Callable[[UUID], Line | None] = lambda _: None
        """A live call's line (``Switchboard.line``)."""
        self.unwritten: Callable[[UUID], Call | None] = lambda _: None
        """A call whose row is not in PostgreSQL yet (``Journal.pending``)."""
        self.lasting: Callable[[], tuple[Iterable[UUID], Iterable[KeptFlow]]] = lambda: ((), ())
        """The ids of all calls, and all activeflows, that are to be kept."""

    # marking

    def touch(self, call_id: UUID) -> None:
        """The call changed: its record, its line or what its leg holds."""
        self._calls.add(call_id)
        self._schedule()

    def touch_flow(self, flow: KeptFlow) -> None:
        """The activeflow changed."""
        self._flows[flow.id] = flow
        line = self.line_of(flow.reference_id)
        if line is not None and line.leg.taken:
            # keys that an action took are in the flow now, and no longer with the leg: both at once
            self._calls.add(line.call.id)
        self._schedule()

    def stored(self, call_ids: Iterable[UUID], flow_ids: Iterable[UUID]) -> None:
        """PostgreSQL has these as they ended: they are let go."""
        self._calls.update(call_ids)
        self._flows.update(dict.fromkeys(flow_ids))
        self._schedule()

    def keep(self, part: str, key: str, value: dict[str, Any]) -> None:
        """Keep something (JSON) for a service; ``Recovery`` hands it to that service's successor."""
        name, text = f"{part}/{key}", orjson.dumps(value, default=str)
        self._parts[name] = text
        if not self._frozen:
            self._pipe.send(("HSET", self._place.parts, name, text))

    def drop(self, part: str, key: str) -> None:
        """Let it go."""
        name = f"{part}/{key}"
        if self._parts.pop(name, None) is not None and not self._frozen:
            self._pipe.send(("HDEL", self._place.parts, name))

    def write(self) -> bool:
        """Write what is marked now, not at the end of the turn; whether all is in the kernel's hands then."""
        self._flush()
        return self._pipe.ready and not self._pipe.unsent

    # life

    async def load(self) -> Kept:
        """What a former controller left. Raises ``RedisError`` or ``OSError`` where Redis cannot be read."""
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                if self._place.last:
                    await self._find_former()
                read = [await self._live.client.hgetall(name) for name in self._former.all]
        except TimeoutError as error:
            raise RedisError("no answer in time") from error
        kept = Kept()
        calls, flows, actions, parts = read
        kept.calls = _by_id(calls, kept)
        kept.flows = _by_id(flows, kept)
        for flow_id, row in list(kept.flows.items()):
            try:
                row["lists"] = [orjson.loads(actions[name.encode()]) for name in row["lists"]]
            except (KeyError, ValueError, TypeError) as error:
                log.error("live_record_unreadable", id=str(flow_id), error=repr(error))
                kept.unreadable += 1
                del kept.flows[flow_id]
        for raw_name, text in parts.items():
            part, _, key = _text(raw_name).partition("/")
            try:
                kept.parts.setdefault(part, {})[key] = orjson.loads(text)
            except ValueError as error:
                log.error("live_record_unreadable", id=f"{part}/{key}", error=repr(error))
                kept.unreadable += 1
        return kept

    async def _find_former(self) -> None:
        epoch = await self._live.client.get(self._place.last)
        if epoch is not None:
            self._former = place_of(self._asterisk, _text(epoch))
        elif self._asterisk == FIRST:
            # it was the only one until now, driven by a process that did everything
            self._former = Place()

    def resume_parts(self, kept: Kept) -> None:
        """What services kept is ours now: they drop what they need no more."""
        for part, entries in kept.parts.items():
            for key, value in entries.items():
                self._parts[f"{part}/{key}"] = orjson.dumps(value)

    def start(self) -> None:
        """Connect, write everything that lasts, and from then on what changes."""
        self._pipe.start()

    async def close(self) -> None:
        """Write what is marked; nothing that changes from here on is written."""
        self._flush()
        self._frozen = True
        await self._pipe.close()

    # writing

    def _schedule(self) -> None:
        if not self._scheduled and not self._frozen:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._frozen or not (self._calls or self._flows):
            return
        calls, self._calls = self._calls, set()
        flows, self._flows = self._flows, {}
        if self._pipe.ready:
            self._pipe.send(*self._commands(calls, flows))
            metrics.live_writes.inc()

    def _write_all(self) -> None:
        """A connection is new: nothing is known of what Redis holds. All of it is replaced in one go."""
        calls, flows = self.lasting()
        self._lists.clear()
        self._calls.clear()
        self._flows.clear()
        commands = self._commands(calls, {flow.id: flow for flow in flows})
        if self._parts:
            commands.append(
                ("HSET", self._place.parts, *(one for pair in self._parts.items() for one in pair))
            )
        if self._place.last:
            commands.append(("SET", self._place.last, str(self._epoch)))
        if self._former != self._place:
            # from here on this is what the next one finds
            commands.append(("DEL", *self._former.all))
        self._pipe.send(("MULTI",), ("DEL", *self._place.all), *commands, ("EXEC",))

    def _commands(self, call_ids: Iterable[UUID], marked: Mapping[UUID, KeptFlow | None]) -> list[Command]:
        calls: list[bytes | str] = []
        flows: list[bytes | str] = []
        lists: list[bytes | str] = []
        gone_calls: list[str] = []
        gone_flows: list[str] = []
        gone_lists: list[str] = []
        for call_id in call_ids:
            record = self._record(call_id)
            if record is None:
                gone_calls.append(str(call_id))
            else:
                calls += (str(call_id), record)
        for flow_id, flow in marked.items():
            known = self._lists.pop(flow_id, {})
            if flow is None:
                gone_flows.append(str(flow_id))
            else:
                row, used = flow.kept()
                row["lists"], fresh, known = self._name(flow_id, used, known)
                flows += (str(flow_id), orjson.dumps(row, default=str))
                lists += fresh
            gone_lists += [name for name, _ in known.values()]
        place = self._place
        pairs = ((place.actions, lists), (place.flows, flows), (place.calls, calls))
        commands: list[Command] = [("HSET", name, *values) for name, values in pairs if values]
        gone = ((place.calls, gone_calls), (place.flows, gone_flows), (place.actions, gone_lists))
        commands += [("HDEL", name, *keys) for name, keys in gone if keys]
        return commands

    def _record(self, call_id: UUID) -> bytes | None:
        line = self.line_of(call_id)
        if line is not None:
            return orjson.dumps(line.kept(), default=str)
        call = self.unwritten(call_id)
        return None if call is None else orjson.dumps({"call": call.kept()}, default=str)

    def _name(
        self, flow_id: UUID, used: list[list[Any]], known: dict[int, tuple[str, list[Any]]]
    ) -> tuple[list[str], list[bytes | str], dict[int, tuple[str, list[Any]]]]:
        """The names of a flow's lists, what is to be written of them, and the lists that it no longer has."""
        names: list[str] = []
        fresh: list[bytes | str] = []
        kept: dict[int, tuple[str, list[Any]]] = {}
        for actions in used:
            entry = kept.get(id(actions)) or known.pop(id(actions), None)
            if entry is None:
                self._named += 1
                # the list itself is held as well, so that no other can get its identity
                entry = f"{flow_id}:{self._named}", actions
                fresh += (entry[0], orjson.dumps(actions, default=str))
            kept[id(actions)] = entry
            names.append(entry[0])
        self._lists[flow_id] = kept
        return names, fresh, known


def _by_id(found: dict[Any, Any], kept: Kept) -> dict[UUID, dict[str, Any]]:
    records = {}
    for name, text in found.items():
        try:
            record = orjson.loads(text)
            if not isinstance(record, dict):
                raise TypeError("no object")
            records[UUID(_text(name))] = record
        except (ValueError, TypeError) as error:
            log.error("live_record_unreadable", id=_text(name)[:64], error=repr(error))
            kept.unreadable += 1
    return records


def _text(name: bytes | str) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
