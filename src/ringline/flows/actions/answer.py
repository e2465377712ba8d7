"""``answer``: take an incoming call; harmless on an outgoing one, which is up when its flow starts."""

from __future__ import annotations

from typing import Literal

from ringline.flows.actions.base import Action, Context, Options
from ringline.flows.engine import Next, Result


class AnswerOptions(Options):
    """``answer`` has no options."""


class Answer(Action):
    """Answer the call."""

    type: Literal["answer"]
    option: AnswerOptions = AnswerOptions()

    async def run(self, context: Context) -> Result:
        await context.leg.answer()
        return Next()
