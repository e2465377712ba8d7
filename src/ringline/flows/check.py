"""What can be said of a flow before it runs, beyond the shape of each action."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ringline.errors import InvalidArgument
from ringline.flows.actions import Action
from ringline.flows.actions.talk import Talk
from ringline.flows.snapshot import RawAction

MAX_ACTIONS = 1000

LanguageCheck = Callable[[str], str]
"""Returns the canonical tag or raises ``InvalidArgument`` (``MediaLibrary.check_language``)."""


def canonical(actions: Sequence[Action]) -> list[RawAction]:
    """Checked actions as the JSON that the engine runs; every action has its id."""
    return [action.model_dump(mode="json", by_alias=True) for action in actions]


def checked(actions: Sequence[Action], check_language: LanguageCheck) -> list[RawAction]:
    """The actions for the engine, or ``InvalidArgument`` with every fault and its place in ``details``."""
    faults: list[dict[str, Any]] = []
    first: dict[Any, int] = {}
    for index, action in enumerate(actions):
        known = first.setdefault(action.id, index)
        if known != index:
            _add(
                faults,
                f"actions[{index}].id",
                f"{action.id} is the id of actions[{known}] too; ids must differ",
            )
        if isinstance(action, Talk) and "${" not in action.option.language:
            try:
                check_language(action.option.language)
            except InvalidArgument as error:
                _add(faults, f"actions[{index}].option.language", error.message)
    if faults:
        raise InvalidArgument(f"{faults[0]['field']}: {faults[0]['message']}", details=faults)
    return canonical(actions)


def _add(faults: list[dict[str, Any]], field: str, message: str) -> None:
    faults.append({"field": field, "message": message})
