"""What can be said of a flow before it runs, beyond the shape of each action."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from ringline.calls.call import ZERO
from ringline.errors import InvalidArgument
from ringline.flows.actions import Action, Call
from ringline.flows.actions.play import Play
from ringline.flows.actions.talk import Talk
from ringline.flows.engine import FINISH_ID, NEXT_ID, START_ID
from ringline.flows.snapshot import RawAction
from ringline.flows.variables import has_reference

MAX_ACTIONS = 1000
MAX_DEPTH = 5
"""How deep calls may be written within calls."""

RESERVED_IDS = frozenset(UUID(text) for text in (START_ID, FINISH_ID, NEXT_ID))
"""Start, finish and next: jumps may aim at them in every flow."""

LanguageCheck = Callable[[str], str]
"""Returns the canonical tag or raises ``InvalidArgument`` (``MediaLibrary.check_language``)."""

UrlCheck = Callable[[str], object]
"""Raises ``InvalidArgument`` for a URL that is not going to be fetched (``address_guard.check_url``)."""


def canonical(actions: Sequence[Action]) -> list[RawAction]:
    """Checked actions as the JSON that the engine runs; every action has its id."""
    return [action.model_dump(mode="json", by_alias=True) for action in actions]


def checked(
    actions: Sequence[Action],
    check_language: LanguageCheck,
    check_url: UrlCheck | None = None,
    *,
    outer: frozenset[UUID] = frozenset(),
) -> list[RawAction]:
    """The actions for the engine, or ``InvalidArgument`` with every fault and its place in ``details``.

    Without ``check_url`` a URL is judged when it is fetched, as each is then in any case. ``outer`` are the ids of
    the actions around a list that runs within others: jumps may aim at them, too.
    """
    faults: list[dict[str, Any]] = []
    _check(actions, "actions", 0, check_language, check_url, faults, outer)
    if faults:
        raise InvalidArgument(f"{faults[0]['field']}: {faults[0]['message']}", details=faults)
    return canonical(actions)


def _check(
    actions: Sequence[Action],
    place: str,
    depth: int,
    check_language: LanguageCheck,
    check_url: UrlCheck | None,
    faults: list[dict[str, Any]],
    outer: frozenset[UUID] = frozenset(),
) -> None:
    """One list of actions, and those for other calls in it, which are flows of their own."""
    if depth > MAX_DEPTH:
        _add(
            faults, place, f"calls are nested deeper than {MAX_DEPTH}; store a flow and name it by `flow_id`"
        )
        return
    first: dict[Any, int] = {}
    known_ids = {action.id for action in actions} | RESERVED_IDS | outer
    for index, action in enumerate(actions):
        here = f"{place}[{index}]"
        known = first.setdefault(action.id, index)
        if known != index:
            _add(faults, f"{here}.id", f"{action.id} is the id of {place}[{known}] too; ids must differ")
        _check_media(action, here, check_language, check_url, faults)
        if action.next_id != ZERO and action.next_id not in known_ids:
            _add(faults, f"{here}.next_id", f"no action of this flow has the id {action.next_id}")
        for target_place, target in action.targets().items():
            if target not in known_ids:
                _add(faults, f"{here}.{target_place}", f"no action of this flow has the id {target}")
        if isinstance(action, Call):
            _check(
                action.option.actions, f"{here}.option.actions", depth + 1, check_language, check_url, faults
            )


def _check_media(
    action: Action,
    here: str,
    check_language: LanguageCheck,
    check_url: UrlCheck | None,
    faults: list[dict[str, Any]],
) -> None:
    """Languages that can be spoken and addresses that may be fetched, where no variable is in them."""
    if isinstance(action, Talk) and "${" not in action.option.language:
        try:
            check_language(action.option.language)
        except InvalidArgument as error:
            _add(faults, f"{here}.option.language", error.message)
    if isinstance(action, Play) and check_url is not None:
        for position, url in enumerate(action.option.stream_urls):
            if has_reference(url):
                continue
            try:
                check_url(url)
            except InvalidArgument as error:
                _add(faults, f"{here}.option.stream_urls[{position}]", error.message)


def _add(faults: list[dict[str, Any]], field: str, message: str) -> None:
    faults.append({"field": field, "message": message})
