"""``digits_send`` (old name ``dtmf_send``): press DTMF digits on the call (RFC 4733)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from ringline.flows.actions.base import Action, Context, Options, unless_variable
from ringline.flows.engine import Next, Result

_DIGITS = re.compile(r"[0-9A-D#*]{1,100}")


def _check_digits(value: str) -> str:
    digits = value.upper()
    if _DIGITS.fullmatch(digits) is None:
        raise ValueError("must be 1 to 100 of 0-9, A-D, # and *")
    return digits


class DigitsSendOptions(Options):
    """``duration`` and ``interval`` are milliseconds per key and between keys."""

    digits: Annotated[str, Field(max_length=1024), unless_variable(_check_digits)] = Field(
        validation_alias=AliasChoices("digits", "dtmfs"),
        description="The keys to press: 0-9, A-D, # and *, at most 100. The seed's name `dtmfs` is accepted.",
    )
    duration: int = Field(
        default=250, ge=100, le=1000, description="How long each key is held, in milliseconds."
    )
    interval: int = Field(default=100, ge=0, le=5000, description="The pause between keys, in milliseconds.")


class DigitsSend(Action):
    """Press the keys one after another and go on when the last was released."""

    type: Literal["digits_send", "dtmf_send"]
    option: DigitsSendOptions

    async def run(self, context: Context) -> Result:
        progress = context.progress
        sent = int(progress.get("sent", 0))
        await context.leg.send_digits(
            self.option.digits[sent:],
            duration_ms=self.option.duration,
            interval_ms=self.option.interval,
            sending=lambda count: progress.keep(sent=sent + count),
        )
        return Next(waited=True)

    def waits(self) -> bool:
        return True
