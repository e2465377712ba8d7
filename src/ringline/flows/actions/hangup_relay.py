"""``hangup_relay``: end the call as another one ended."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.actions.hangup import relay
from ringline.flows.engine import Result


class HangupRelayOptions(Options):
    """``reference_id``: a call of the same customer."""

    reference_id: UUID = Field(
        description="A call of yours that has ended: this one ends with its reason and cause. Of a call that lasts,"
        " or that does not exist, the reason is `normal`."
    )


class HangupRelay(Action):
    """The older form of ``hangup`` with a ``reference_id``."""

    type: Literal["hangup_relay"]
    option: HangupRelayOptions
    needs_call = False
    goes_on = False

    async def run(self, context: Context) -> Result:
        return await relay(context, self.option.reference_id)
