"""What may follow what in a list of actions: the graph that the check walks and that is drawn. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from ringline.flows.actions.base import Action
from ringline.flows.engine import FINISH_ID, NEXT_ID, START_ID

_START, _FINISH, _NEXT = UUID(START_ID), UUID(FINISH_ID), UUID(NEXT_ID)
_ZERO = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Edge:
    """From one action (by its position) to another; ``target`` ``None``: the end, or a list around this one.

    ``place`` is where the source says so, ``""`` for the order of the list. ``bounded``: taken a limited number of
    times, whatever happens.
    """

    source: int
    target: int | None
    place: str = ""
    bounded: bool = False


def edges(actions: Sequence[Action | None]) -> list[Edge]:
    """All of them, in the order of the list; ``None`` stands for an action that could not be read."""
    positions: dict[UUID, int] = {}
    for index, action in enumerate(actions):
        if action is not None:
            positions.setdefault(action.id, index)
    found: list[Edge] = []
    for index, action in enumerate(actions):
        following = index + 1 if index + 1 < len(actions) else None
        if action is None:
            found.append(Edge(index, following))
            continue
        bounded = action.bounded_targets()
        for place, target in action.targets().items():
            found.append(Edge(index, _position(target, positions, following), place, place in bounded))
        if action.goes_on:
            place = "" if action.next_id in (_ZERO, _NEXT) else "next_id"
            target = _NEXT if not place else action.next_id
            found.append(Edge(index, _position(target, positions, following), place))
    return found


def _position(target: UUID, positions: Mapping[UUID, int], following: int | None) -> int | None:
    if target == _NEXT:
        return following
    if target == _START:
        return 0
    if target == _FINISH:
        return None
    return positions.get(target)


def reachable(count: int, found: Iterable[Edge]) -> set[int]:
    """The positions that may be run, the first one included."""
    following = _following(found)
    seen: set[int] = set()
    waiting = [0] if count else []
    while waiting:
        index = waiting.pop()
        if index not in seen:
            seen.add(index)
            waiting.extend(edge.target for edge in following.get(index, ()) if edge.target is not None)
    return seen


def before(index: int, found: Iterable[Edge]) -> set[int]:
    """The positions from which this one may be come to."""
    sources: dict[int, set[int]] = {}
    for edge in found:
        if edge.target is not None:
            sources.setdefault(edge.target, set()).add(edge.source)
    seen: set[int] = set()
    waiting = [index]
    while waiting:
        for source in sources.get(waiting.pop(), ()):
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return seen


def endless(
    actions: Sequence[Action | None], found: Iterable[Edge], *, everywhere: bool = False
) -> list[list[Edge]]:
    """Loops without any bound, one cycle of edges for each set of actions that lead to each other.

    A loop is bounded when an action in it lets time pass, when it is closed by a jump that is made a limited number
    of times, when it decides on something and changes variables (a later decision may come out differently), or when
    it runs actions that are not known yet. What such a loop really does is watched when it runs
    (``engine.MAX_STREAK``). Loops that nothing leads to are left out,
    unless ``everywhere``: where some edges are not known, anything may lead to them.
    """
    listed = list(found)
    known = set(range(len(actions))) if everywhere else reachable(len(actions), listed)
    spins = {index for index in known if (action := actions[index]) is not None and not action.waits()}
    inner = [edge for edge in listed if not edge.bounded and edge.source in spins and edge.target in spins]
    loops = []
    for members in _components(spins, _following(inner)):
        here = [edge for edge in inner if edge.source in members and edge.target in members]
        if not here or _may_change([actions[index] for index in members]):
            continue
        loops.append(_cycle(members, _following(here)))
    return loops


def _may_change(members: Iterable[Action | None]) -> bool:
    listed = [action for action in members if action is not None]
    if any(action.pushes for action in listed):
        return True
    decides = any(action.targets() for action in listed)
    return decides and any(action.changes_variables for action in listed)


def _following(found: Iterable[Edge]) -> dict[int, list[Edge]]:
    following: dict[int, list[Edge]] = {}
    for edge in found:
        following.setdefault(edge.source, []).append(edge)
    return following


def _components(nodes: set[int], following: Mapping[int, Sequence[Edge]]) -> list[set[int]]:
    """Sets of positions that lead to each other (Tarjan, without recursion), in order of their first."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[set[int]] = []
    for root in sorted(nodes):
        if root in number:
            continue
        work = [(root, iter(following.get(root, ())))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for edge in rest:
                target = edge.target
                if target is None:
                    continue
                if target not in number:
                    number[target] = low[target] = len(number)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(following.get(target, ()))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], number[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    members = set()
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        members.add(member)
                        if member == node:
                            break
                    found.append(members)
    return sorted(found, key=min)


def _cycle(members: set[int], following: Mapping[int, Sequence[Edge]]) -> list[Edge]:
    """The edges of one shortest way from the first member back to itself."""
    start = min(members)
    came: dict[int, Edge] = {}
    waiting = [start]
    for node in waiting:
        for edge in following.get(node, ()):
            target = edge.target
            if target == start:
                way = [edge]
                while way[0].source != start:
                    way.insert(0, came[way[0].source])
                return way
            if target is not None and target not in came:
                came[target] = edge
                waiting.append(target)
    return []
