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

    def __init__(self, live: Live) -> None:
        self._live = live
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
            self._pipe.send(("HSET", PARTS, name, text))

    def drop(self, part: str, key: str) -> None:
        """Let it go."""
        name = f"{part}/{key}"
        if self._parts.pop(name, None) is not None and not self._frozen:
            self._pipe.send(("HDEL", PARTS, name))

    # life

    async def load(self) -> Kept:
        """What a former controller left. Raises ``RedisError`` or ``OSError`` where Redis cannot be read."""
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                read = [await self._live.client.hgetall(name) for name in (CALLS, FLOWS, ACTIONS, PARTS)]
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
            commands.append(("HSET", PARTS, *(one for pair in self._parts.items() for one in pair)))
        self._pipe.send(("MULTI",), ("DEL", CALLS, FLOWS, ACTIONS, PARTS), *commands, ("EXEC",))

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
        pairs = ((ACTIONS, lists), (FLOWS, flows), (CALLS, calls))
        commands: list[Command] = [("HSET", name, *values) for name, values in pairs if values]
        gone = ((CALLS, gone_calls), (FLOWS, gone_flows), (ACTIONS, gone_lists))
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
