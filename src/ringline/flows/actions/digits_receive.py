"""``digits_receive``: wait for keys of the other side (RFC 4733)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ringline.flows.actions.base import MIN_WAIT_MS, Action, Context, Options
from ringline.flows.engine import Next, Result

DIGITS = "voipbin.call.digits"
KEYS = "0123456789ABCD#*"


def _check_key(value: str) -> str:
    key = value.upper()
    if any(character not in KEYS for character in key):
        raise ValueError("must be made of 0-9, A-D, # and *")
    return key


class DigitsReceiveOptions(Options):
    """It ends with the first of: ``length`` keys, one of ``key``, ``duration`` milliseconds."""

    duration: int = Field(ge=0, le=600_000, description="How long to wait in all, in milliseconds.")
    length: int = Field(default=1, ge=0, le=100, description="How many keys are enough; 0: no such end.")
    key: Annotated[str, Field(max_length=16), AfterValidator(_check_key)] = Field(
        default="", description="Any of these keys ends the input; it is part of the result."
    )


class DigitsReceive(Action):
    """Put the keys pressed into `voipbin.call.digits`. Keys pressed during the prompt before count."""

    type: Literal["digits_receive"]
    option: DigitsReceiveOptions
    changes_variables = True

    async def run(self, context: Context) -> Result:
        option = self.option
        digits = await context.leg.receive_digits(
            seconds=context.progress.left(option.duration / 1000), length=option.length, end_keys=option.key
        )
        context.state.variables[DIGITS] = digits
        return Next(waited=True)

    def waits(self) -> bool:
        return self.option.duration >= MIN_WAIT_MS
