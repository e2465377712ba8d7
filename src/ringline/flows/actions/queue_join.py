"""``queue_join``: wait in a queue for an agent."""

from __future__ import annotations

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator

from ringline.flows.actions.base import Action, ActionFailed, Context, Options, final
from ringline.flows.engine import Next, Result
from ringline.flows.variables import has_reference


class QueueJoinOptions(Options):
    """``queue_id`` may be a variable."""

    queue_id: str = Field(min_length=1, max_length=255, description="The id of a queue of yours.")

    @field_validator("queue_id")
    @classmethod
    def _check_id(cls, value: str, info: ValidationInfo) -> str:
        if has_reference(value) and not final(info):
            return value
        try:
            return str(UUID(value))
        except ValueError:
            raise ValueError("must be the id of a queue (a UUID)") from None


class QueueJoin(Action):
    """Wait for an agent, talk, and go on when that is over.

    The wait flow may take the caller out of the queue: by a jump to its end, or by ``stop``.
    """

    fatal: ClassVar[bool] = True
    changes_variables: ClassVar[bool] = True

    type: Literal["queue_join"]
    option: QueueJoinOptions

    async def run(self, context: Context) -> Result:
        queues = context.services.queues
        if queues is None:
            context.leg.note("queue_join", self.option.queue_id)
            return Next()
        if context.meanwhile is None:
            raise ActionFailed("QUEUE_IN_QUEUE", "a caller who waits in a queue cannot join another one")
        return await queues.join(context, UUID(self.option.queue_id)) or Next(waited=True)

    def waits(self) -> bool:
        return True
