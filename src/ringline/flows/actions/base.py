"""The skeleton that every action shares.

To add an action: copy the smallest module beside this one, name its ``type``, describe its ``Options``, write
``run``, state its facts (the class variables of ``Action`` and the methods from ``targets`` on: the check of flows,
drawings and flows without a call go by them), add the class to ``AnyAction`` in ``flows.actions`` and a section to
``docs/flows.md``. ``run`` may be called again for an action that had begun when its controller died:
``context.progress`` says so and keeps what was noted.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol
from uuid import UUID, uuid4

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from ringline.calls.call import ZERO, Call
from ringline.calls.leg import Leg
from ringline.clock import Clock
from ringline.flows.actions.services import Services
from ringline.flows.engine import Result
from ringline.flows.progress import Progress
from ringline.flows.snapshot import RawAction, Snapshot
from ringline.flows.variables import Lookup, has_reference
from ringline.media import Prompt

AT_RUN_TIME = {"at_run_time": True}
"""Validation context of an action whose variables have been put in."""

MIN_WAIT_MS = 100
"""What an action must let pass to count as waiting; a loop of shorter ones is stopped (``engine.MAX_STREAK``)."""

_WAYS = {"next_id": "next", "false_target_id": "no", "default_target_id": "otherwise"}


class ActionFailed(Exception):
    """An action could not do its work; the flow notes it on the call and goes on.

    ``reason`` is a code such as ``FETCH_TIMEOUT``, ``message`` a sentence for the person who wrote the flow.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Media(Protocol):
    """What actions need of the media library (``ringline.media.MediaLibrary``)."""

    async def speech(self, text: str, language: str = "en-US", voice_id: str = "") -> Prompt: ...

    async def file(self, url: str) -> Prompt: ...

    async def beep(self) -> Prompt: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What an action may use while it runs.

    ``lookup`` gives the text of a variable, system names included; ``written`` is the action as it stands in
    the flow, before its variables were put in. ``progress`` is where the action notes what it must not do twice
    when it is run again after a restart; ``activeflow_id`` is the flow in execution, ``flow`` its own list.
    ``meanwhile`` runs a list of actions over and over until it is cancelled (``flows.meanwhile``); ``None`` within
    such a list.
    """

    leg: Leg
    media: Media
    clock: Clock
    state: Snapshot
    lookup: Lookup
    written: RawAction
    services: Services
    progress: Progress
    activeflow_id: UUID = ZERO
    flow: Sequence[RawAction] = ()
    meanwhile: Callable[[list[RawAction]], Awaitable[Result | None]] | None = None


class Options(BaseModel):
    """Base of every action's ``option``: an option we do not know is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class Action(BaseModel):
    """Base of every action.

    ``id`` may be given by the writer of the flow and is what jumps aim at; ``next_id`` overrides the sequence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    needs_call: ClassVar[bool] = True
    """Whether it makes no sense without a telephone call: a flow without one skips it."""
    fatal: ClassVar[bool] = False
    """Whether the flow ends when this action fails, instead of going on with the next."""
    changes_variables: ClassVar[bool] = False
    """Whether a decision after it may come out differently than before it."""
    pushes: ClassVar[bool] = False
    """Whether actions that nobody knows before may run before the one that follows (``fetch``)."""
    goes_on: ClassVar[bool] = True
    """Whether the action that follows may be the next to run (not after ``stop``, nor where it always jumps)."""
    nested: ClassVar[tuple[str, ...]] = ()
    """Names of options that hold lists of actions: flows of their own, which run elsewhere."""

    id: Annotated[UUID, AfterValidator(lambda given: uuid4() if given == ZERO else given)] = Field(
        default_factory=uuid4, description="Target of jumps; made up when left out."
    )
    next_id: UUID = Field(default=ZERO, description="Run this action next instead of the following one.")

    @abstractmethod
    async def run(self, context: Context) -> Result:
        """Do the work and say how the flow goes on. Raises ``ActionFailed``, ``MediaFailed`` or ``LegGone``."""

    def targets(self) -> dict[str, UUID]:
        """Where the action may jump to, by the place in it that says so (``option.target_id``)."""
        return {}

    def bounded_targets(self) -> frozenset[str]:
        """Those places of ``targets`` by which it jumps a limited number of times only, whatever happens."""
        return frozenset()

    def way(self, place: str) -> str:
        """What a drawing writes on the arrow of a place of ``targets`` (``""``: of going on)."""
        if not place:
            return "yes" if self.targets() else ""
        name, _, value = place.removeprefix("option.").partition(".")
        return value or _WAYS.get(name, name)

    def decides_on(self) -> str:
        """The variable whose value says where the flow goes on; empty: none."""
        return ""

    def waits(self) -> bool:
        """Whether it lets time pass on the call, so that a loop with it in it does not spin."""
        return False

    def flow_ids(self) -> dict[str, UUID]:
        """Stored flows that it names, by place; the zero UUID means none."""
        return {}

    def languages(self) -> dict[str, str]:
        """BCP 47 tags of languages to be spoken, by place."""
        return {}

    def urls(self) -> dict[str, str]:
        """Addresses (http, https) that will be fetched or called on the customer's behalf, by place."""
        return {}

    def inner(self) -> Mapping[str, Sequence[Action]]:
        """The lists of actions in its ``nested`` options, by place."""
        option = getattr(self, "option", None)
        return {f"option.{name}": getattr(option, name) for name in self.nested}

    async def prepare(self, media: Media) -> None:
        """Make ready what ``run`` will need, while the action before still plays."""


def own_call(context: Context) -> Call | None:
    """The call that the flow runs on; ``None`` for a flow without one (``calls.absent``)."""
    call = context.leg.call
    return call if call.channel_id else None


def count(state: Snapshot, what: str, limit: int) -> bool:
    """Count what a flow may do only so often; ``False`` where it may not once more."""
    done = state.counts.get(what, 0)
    if done >= limit:
        return False
    state.counts[what] = done + 1
    return True


def final(info: ValidationInfo) -> bool:
    """Whether variables have been put in, so that a text is what it is going to be."""
    return bool(info.context and info.context.get("at_run_time"))


def unless_variable(check: Any) -> Any:
    """A validator that lets a text with ``${…}`` pass until its variables are known."""

    def validate(value: str, info: ValidationInfo) -> str:
        if has_reference(value) and not final(info):
            return value
        checked = check(value)
        return value if checked is None else checked

    return AfterValidator(validate)
