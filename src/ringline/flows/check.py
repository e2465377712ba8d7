"""What can be said of a flow before it runs: every fault with its place, and what is odd without being wrong."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from pydantic import Field, ValidationError, ValidationInfo, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

from ringline.calls.call import ZERO
from ringline.errors import InvalidArgument
from ringline.flows import graph
from ringline.flows.actions import Action, AnyAction, kinds, one, several
from ringline.flows.actions.digits_receive import DIGITS
from ringline.flows.engine import FINISH_ID, MAX_STREAK, NEXT_ID, START_ID
from ringline.flows.snapshot import RawAction
from ringline.flows.variables import has_reference, references
from ringline.http import problems

MAX_ACTIONS: Final = 1000
MAX_IN_ALL: Final = 5000
"""Actions of a flow together with those for other calls in it."""
MAX_DEPTH: Final = 5
"""How deep calls may be written within calls."""

MAX_FAULTS: Final = 200
"""Faults that are looked for: nobody reads more, and everybody else waits meanwhile."""
MAX_HINTS: Final = 5
"""Jumps to nowhere of a list for which the id that was meant is looked for."""

RESERVED_IDS: Final = frozenset(UUID(text) for text in (START_ID, FINISH_ID, NEXT_ID))
"""Start, finish and next: jumps may aim at them in every flow."""

LATER: Final = ("ai_talk", "ai_task", "ai_summary")
ELSEWHERE: Final = frozenset(
    (
        "agent_call", "block", "case_create", "chatbot_talk", "conversation_send", "email_send", "empty",
        "transcribe_recording", "transcribe_start", "transcribe_stop",
    )
)  # fmt: skip
"""Actions of VoIPBIN that Ringline does not have."""

_SYSTEM = re.compile(r"voipbin\.(call|activeflow|message)\.", re.IGNORECASE)
_PARTY = ("type", "target", "target_name", "name", "detail")
_SYSTEM_NAMES: Final = (
    *(f"voipbin.activeflow.{name}" for name in ("id", "flow_id", "reference_type", "reference_id")),
    "voipbin.activeflow.reference_activeflow_id",
    "voipbin.activeflow.complete_count",
    *(f"voipbin.call.{name}" for name in ("id", "direction", "master_call_id", "digits")),
    *(f"voipbin.call.{side}.{what}" for side in ("source", "destination") for what in _PARTY),
    *(
        f"voipbin.message.{name}"
        for name in ("id", "type", "direction", "text", "keyword", "media", "media_count")
    ),
    *(
        f"voipbin.message.{side}.{what}"
        for side in ("source", "destination", "target.destination")
        for what in _PARTY
    ),
)

LanguageCheck = Callable[[str], object]
"""Returns the canonical tag or raises ``InvalidArgument`` (``MediaLibrary.check_language``)."""

UrlCheck = Callable[[str], object]
"""Raises ``InvalidArgument`` for a URL that is not going to be fetched (``address_guard.check_url``)."""

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """What is known here and not in the flow. ``None``: not judged before it is used.

    ``outer`` are ids of the lists around this one, which jumps may aim at. ``warn``: say what is odd, too.
    """

    language: LanguageCheck | None = None
    url: UrlCheck | None = None
    outer: frozenset[UUID] = frozenset()
    warn: bool = True

    def inside(self) -> Rules:
        """The rules of a list that is a flow of its own."""
        return replace(self, outer=frozenset())


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one place; ``message`` goes on from the place's name: ``must be a string``."""

    location: Location
    message: str

    @property
    def field(self) -> str:
        """The place as people write it: ``actions[3].option.target_ids.2``."""
        return place_of(self.location)

    def as_json(self) -> dict[str, str]:
        return {"field": self.field, "message": self.message}


@dataclass(slots=True)
class Findings:
    """What was found. ``actions`` is complete only where there are no faults."""

    actions: list[Action] = field(default_factory=list)
    faults: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


def place_of(location: Location) -> str:
    """``("actions", 3, "option")`` as ``actions[3].option``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def location_of(place: str) -> Location:
    """``option.target_ids.2`` as its parts; what stands in brackets is a position."""
    parts: list[str | int] = []
    for name, position in re.findall(r"([^.\[\]]+)|\[(\d+)\]", place):
        parts.append(int(position) if position else name)
    return tuple(parts)


def canonical(actions: Sequence[Action]) -> list[RawAction]:
    """Checked actions as the JSON that the engine runs; every action has its id."""
    return [action.model_dump(mode="json", by_alias=True) for action in actions]


def examine(raw: Any, rules: Rules | None = None, location: Location = ("actions",)) -> Findings:
    """Everything that can be said of a list of actions as it came: JSON data. Raises nothing.

    A list that can be read as it is is read at once. In one that cannot each action is read for itself; after
    ``MAX_FAULTS`` no more are looked for.
    """
    found = Findings()
    count = _count(raw)
    if count > MAX_IN_ALL:
        found.faults.append(
            Finding(
                location,
                f"holds {count} actions together with those for other calls; at most {MAX_IN_ALL} are possible:"
                " store flows and name them by `flow_id`",
            )
        )
        return found
    if isinstance(raw, list) and len(raw) <= MAX_ACTIONS:
        try:
            actions = several().validate_json(_json(raw))
        except (ValidationError, RecursionError):
            pass
        else:
            _whole(actions, rules or Rules(), location, 0, found)
            found.actions = actions
            return found
    found.actions = _examine(raw, rules or Rules(), location, 0, found)
    return found


def checked(
    actions: Sequence[Action],
    check_language: LanguageCheck,
    check_url: UrlCheck | None = None,
    *,
    outer: frozenset[UUID] = frozenset(),
) -> list[RawAction]:
    """The actions for the engine, or ``InvalidArgument`` with every fault and its place in ``details``.

    Without ``check_url`` a URL is judged when it is fetched, as each is then in any case.
    """
    found = Findings()
    _whole(actions, Rules(check_language, check_url, outer, warn=False), ("actions",), 0, found)
    refuse(found.faults)
    return canonical(actions)


def refuse(faults: Sequence[Finding]) -> None:
    """Raise ``InvalidArgument`` where there are faults, with all of them in ``details``."""
    if faults:
        more = f" ({len(faults)} faults in all, see `details`.)" if len(faults) > 1 else ""
        raise InvalidArgument(
            f"`{faults[0].field}` {faults[0].message}.{more}", details=[fault.as_json() for fault in faults]
        )


def odd(actions: Sequence[Action], location: Location = ("actions",)) -> list[Finding]:
    """What is odd about checked actions, those for other calls in them included, without being wrong."""
    found = Findings()
    _whole(actions, Rules(), location, 0, found)
    return found.warnings


async def missing_flows(
    actions: Sequence[Action],
    exists: Callable[[UUID], Awaitable[bool]],
    location: Location = ("actions",),
) -> list[Finding]:
    """A fault for each stored flow that is named and that ``exists`` does not know."""
    known: dict[UUID, bool] = {ZERO: True}
    faults = []
    for place, flow_id in _named_flows(actions, location):
        if flow_id not in known:
            known[flow_id] = await exists(flow_id)
        if not known[flow_id]:
            faults.append(Finding(place, f"names a flow that does not exist: {flow_id}"))
    return faults


def _named_flows(actions: Sequence[Action], location: Location) -> Iterator[tuple[Location, UUID]]:
    for index, action in enumerate(actions):
        here = (*location, index)
        for place, flow_id in action.flow_ids().items():
            yield (*here, *location_of(place)), flow_id
        for place, inner in action.inner().items():
            yield from _named_flows(inner, (*here, *location_of(place)))


def _validate(value: Any, _: Any, info: ValidationInfo) -> list[Action]:
    rules = info.context if isinstance(info.context, Rules) else Rules()
    found = examine(value, replace(rules, warn=False))
    if found.faults:
        raise ValidationError.from_exception_data(
            "flow",
            [
                InitErrorDetails(
                    type=PydanticCustomError("flow_fault", "{sentence}", {"sentence": fault.message}),
                    loc=fault.location[1:],  # the field's own name is put before it
                    input=None,
                )
                for fault in found.faults
            ],
        )
    return found.actions


FlowActions = Annotated[
    list[AnyAction],
    Field(max_length=MAX_ACTIONS),
    WrapValidator(_validate),
]
"""The actions of a request's body: all their faults are found at once, with those of the rest of the body.

What is known of languages and addresses comes as ``Rules`` in the validation's context (``Route.context``).
"""


# lists as they came


def _count(raw: Any) -> int:
    """How many actions there are, those in nested lists included."""
    if not isinstance(raw, list):
        return 0
    total = len(raw)
    for item in raw:
        kind = item.get("type") if isinstance(item, dict) else None
        known = kinds().get(kind) if isinstance(kind, str) else None
        if known is not None and known.nested:
            total += sum(_count(inner) for inner in _taken_apart(item, known)[1].values())
    return total


def _examine(raw: Any, rules: Rules, location: Location, depth: int, found: Findings) -> list[Action]:
    """Read each action for itself, so that one that is wrong hides nothing of the others."""
    if not isinstance(raw, list):
        found.faults.append(Finding(location, "must be an array of actions"))
        return []
    if len(raw) > MAX_ACTIONS:
        found.faults.append(Finding(location, f"has {len(raw)} actions; at most {MAX_ACTIONS} are possible"))
        return []
    if depth > MAX_DEPTH:
        found.faults.append(Finding(location, _TOO_DEEP))
        return []
    before = len(found.faults)
    if before >= MAX_FAULTS:
        return []
    actions = [_one(item, rules, (*location, index), depth, found) for index, item in enumerate(raw)]
    ids = [
        action.id if action is not None else _id_of(item) for action, item in zip(actions, raw, strict=True)
    ]
    _structure(actions, ids, rules, location, found, complete=len(found.faults) == before)
    if len(found.faults) == before:
        actions = [_with_inner(action, item) for action, item in zip(actions, raw, strict=True)]
    return [action for action in actions if action is not None]


def _one(item: Any, rules: Rules, here: Location, depth: int, found: Findings) -> Action | None:
    """One action, its nested lists apart; ``None`` where it is wrong."""
    if len(found.faults) >= MAX_FAULTS:
        return None
    kind = item.get("type") if isinstance(item, dict) else None
    known = kinds().get(kind) if isinstance(kind, str) else None
    if isinstance(kind, str) and known is None:
        found.faults.append(Finding((*here, "type"), _unknown_type(kind)))
        return None
    shell, nested = _taken_apart(item, known)
    action: Action | None = None
    try:
        action = one().validate_json(_json(shell))
    except ValidationError as failure:
        for fault in problems.faults_of(failure, AnyAction, most=MAX_ACTIONS):
            found.faults.append(Finding((*here, *location_of(fault["field"])), fault["message"]))
    if action is not None:
        _judge(action, rules, here, found)
    for name, inner in nested.items():
        _examine(inner, rules.inside(), (*here, "option", name), depth + 1, found)
    return action


_STOP: Final = [{"type": "stop"}]


def _taken_apart(item: Any, known: type[Action] | None) -> tuple[Any, dict[str, Any]]:
    """An action whose nested lists are replaced by harmless ones, and those lists."""
    option = item.get("option") if isinstance(item, dict) else None
    if known is None or not isinstance(option, dict):
        return item, {}
    nested = {name: option[name] for name in known.nested if isinstance(option.get(name), list)}
    if not nested:
        return item, {}
    shell = {name: _STOP if inner else [] for name, inner in nested.items()}
    return {**item, "option": {**option, **shell}}, nested


def _with_inner(action: Action | None, item: Any) -> Action | None:
    """The action with its nested lists, which were checked apart."""
    if action is None or not any(action.inner().values()):
        return action
    whole = one().validate_json(_json(item))
    return whole.model_copy(update={"id": action.id})


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # a number beyond 64 bits, or a text that is no Unicode
        return json.dumps(value).encode()


def _id_of(item: Any) -> UUID | None:
    try:
        return UUID(item["id"])
    except (TypeError, KeyError, ValueError, AttributeError):
        return None


@lru_cache(maxsize=256)
def _unknown_type(kind: str) -> str:
    if kind in LATER or kind.startswith("ai_"):
        return f"`{kind[:64]}` comes with a later version of Ringline and cannot be used yet"
    if kind in ELSEWHERE:
        return f"`{kind}` is an action of VoIPBIN that Ringline does not have"
    known = tuple(kinds())
    wanted = re.sub(r"[\s-]+", "_", kind.strip().lower())[:64]
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    hint = (
        f"did you mean `{near[0]}`?" if near else "known ones are " + ", ".join(f"`{name}`" for name in known)
    )
    return f"is not a known action: {kind[:64]!r}; {hint}"


# lists that were read


_TOO_DEEP: Final = (
    f"stands too deep: calls are nested deeper than {MAX_DEPTH}; store a flow and name it by `flow_id`"
)


def _whole(actions: Sequence[Action], rules: Rules, location: Location, depth: int, found: Findings) -> None:
    """One list of actions, and those for other calls in it, which are flows of their own."""
    if depth > MAX_DEPTH:
        found.faults.append(Finding(location, _TOO_DEEP))
        return
    before = len(found.faults)
    for index, action in enumerate(actions):
        here = (*location, index)
        _judge(action, rules, here, found)
        for place, inner in action.inner().items():
            _whole(inner, rules.inside(), (*here, *location_of(place)), depth + 1, found)
    ids = [action.id for action in actions]
    _structure(actions, ids, rules, location, found, complete=len(found.faults) == before)


def _judge(action: Action, rules: Rules, here: Location, found: Findings) -> None:
    """Languages that can be spoken and addresses that may be fetched, where no variable is in them."""
    judged = ((action.languages(), rules.language), (action.urls(), rules.url))
    for texts, judge in judged:
        for place, text in texts.items():
            if judge is None or has_reference(text):
                continue
            try:
                judge(text)
            except InvalidArgument as error:
                found.faults.append(Finding((*here, *location_of(place)), f"cannot be used: {error.message}"))


def _structure(
    actions: Sequence[Action | None],
    ids: Sequence[UUID | None],
    rules: Rules,
    location: Location,
    found: Findings,
    *,
    complete: bool,
) -> None:
    """Ids, jumps and loops of one list, and with a ``complete`` one what is odd about it."""
    first: dict[UUID, int] = {}
    before = len(found.faults)
    for index, known_id in enumerate(ids):
        if known_id is None:
            continue
        here = (*location, index, "id")
        if known_id in RESERVED_IDS:
            found.faults.append(Finding(here, f"is reserved: {known_id}; leave it out and one is made up"))
        elif first.setdefault(known_id, index) != index:
            other = place_of((*location, first[known_id]))
            found.faults.append(Finding(here, f"{known_id} is the id of {other} too; ids must differ"))
    lost = 0
    for index, action in enumerate(actions):
        if action is None or len(found.faults) >= MAX_FAULTS:
            continue
        targets = action.targets()
        if action.next_id != ZERO:
            targets = {"next_id": action.next_id, **targets}
        for place, target in targets.items():
            if target not in first and target not in RESERVED_IDS and target not in rules.outer:
                there = (*location, index, *location_of(place))
                lost += 1
                found.faults.append(
                    Finding(there, _nowhere(target, first if lost <= MAX_HINTS else {}, location))
                )
    edges = graph.edges(actions)
    unsure = not complete or len(found.faults) > before
    for loop in graph.endless(actions, edges, everywhere=unsure):
        found.faults.append(_loop(loop, location))
    if complete and rules.warn and len(found.faults) == before:
        _odd([action for action in actions if action is not None], edges, location, found)


def _nowhere(target: UUID, known: dict[UUID, int], location: Location) -> str:
    text = f"leads nowhere: no action of this flow has the id {target}"
    if target == ZERO:
        return f"{text}; to go on with the next action use {NEXT_ID}, to end the flow {FINISH_ID}"
    near = min(known, key=lambda known_id: _typing_errors(known_id, target), default=None)
    if near is not None and _typing_errors(near, target) <= MAX_TYPING_ERRORS:
        text += f"; did you mean {near} ({place_of((*location, known[near]))})?"
    return text


MAX_TYPING_ERRORS: Final = 4


def _typing_errors(one: UUID, other: UUID) -> int:
    """In how many of their digits two ids differ."""
    return sum(a != b for a, b in zip(one.hex, other.hex, strict=True))


def _loop(loop: Sequence[graph.Edge], location: Location) -> Finding:
    way = " -> ".join(place_of((*location, edge.source)) for edge in loop)
    closing = loop[-1]
    place = location_of(closing.place) if closing.place else ()
    return Finding(
        (*location, closing.source, *place),
        f"closes a loop without end ({way} -> {place_of((*location, loop[0].source))}): nothing in it waits or"
        f" changes, and after {MAX_STREAK} actions the flow would be stopped; use `goto` with a `loop_count`, or put"
        " an action into it that takes time",
    )


def _odd(actions: Sequence[Action], edges: Sequence[graph.Edge], location: Location, found: Findings) -> None:
    reached = graph.reachable(len(actions), edges)
    for first, last in _runs(index for index in range(len(actions)) if index not in reached):
        until = f", with all up to {place_of((*location, last))}" if last != first else ""
        found.warnings.append(
            Finding((*location, first), f"can never be reached{until}: nothing leads there")
        )
    for index, action in enumerate(actions):
        here = (*location, index)
        if action.next_id != ZERO and not action.goes_on:
            found.warnings.append(Finding((*here, "next_id"), "has no effect: this action never goes on"))
        if action.decides_on() == DIGITS and index in reached:
            earlier = graph.before(index, edges)
            if not any(actions[one].changes_variables for one in earlier):
                found.warnings.append(
                    Finding(
                        here, f"always takes its default: nothing before it receives digits into `{DIGITS}`"
                    )
                )
        for place, name in _unknown_names(action):
            near = difflib.get_close_matches(name.lower(), _SYSTEM_NAMES, n=1, cutoff=0.6)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            found.warnings.append(Finding((*here, *place), f"names the unknown variable `{name}`{hint}"))


def _runs(indices: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Neighbours together: first and last of each run."""
    first = last = -2
    for index in indices:
        if index != last + 1:
            if first >= 0:
                yield first, last
            first = index
        last = index
    if first >= 0:
        yield first, last


def _unknown_names(action: Action) -> Iterator[tuple[Location, str]]:
    """System names in texts of its option that do not exist."""
    if "${" not in action.model_dump_json():
        return
    option = action.model_dump(mode="json", by_alias=True, exclude={"option": set(action.nested)})["option"]
    for place, text in _texts(option, ("option",)):
        for name in references(text):
            if _SYSTEM.match(name) and name not in _SYSTEM_NAMES:
                yield place, name


def _texts(value: Any, place: Location) -> Iterator[tuple[Location, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, (*place, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*place, index))
