"""Making ready what an action will need before it is its turn: speech rendered, files fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from pydantic import ValidationError

from ringline.calls.call import Call
from ringline.errors import RinglineError
from ringline.flows import variables
from ringline.flows.actions import Action, ActionFailed, Media, ready
from ringline.flows.activeflow import Activeflow
from ringline.flows.snapshot import RawAction

log = structlog.get_logger(__name__)

PREPARED: Final = frozenset({"talk", "play", "beep"})
"""Actions worth preparing: those whose media takes time to make."""
INSTANT: Final = frozenset({"answer", "hangup"})
"""Actions that are over at once: nothing can be prepared meanwhile."""
_LOOK_AHEAD = 3


def with_variables(raw: RawAction, activeflow: Activeflow, call: Call) -> Action:
    """The action as it is going to run. Raises ``ActionFailed`` where its variables make it impossible."""
    option = raw["option"]
    if raw["type"] == "call":
        # actions for another call: their variables are put in there, and only there
        option = {**option, "actions": []}
    try:
        return ready({**raw, "option": variables.substitute(option, activeflow.lookup(call))})
    except variables.TooLong:
        raise ActionFailed("OPTION_TOO_LONG", "an option grew too long with its variables") from None
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise ActionFailed("INVALID_OPTION", f"{place}: {fault['msg']}") from error


def first_words(activeflow: Activeflow) -> RawAction | None:
    """The first action near the start that has media: it can be made while the telephone still rings."""
    return next((raw for raw in activeflow.actions[:_LOOK_AHEAD] if raw["type"] in PREPARED), None)


def begin(
    raw: RawAction | None, make: Callable[[RawAction], Action], media: Media
) -> asyncio.Task[None] | None:
    """Start preparing an action's media, where it has any. A failure shows when it is the action's turn."""
    if raw is None or raw["type"] not in PREPARED:
        return None

    async def prepare() -> None:
        try:
            await make(raw).prepare(media)
        except (ActionFailed, RinglineError) as error:
            log.debug("prepare_failed", action=raw["type"], error=str(error))
        except Exception:
            log.exception("prepare_crashed", action=raw["type"])

    return asyncio.create_task(prepare(), name="prepare")
