"""``talk``: speak a text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ringline.errors import InvalidArgument
from ringline.flows.actions.base import Action, Context, Media, Options, unless_variable
from ringline.flows.engine import Next, Result
from ringline.media import check_text


def _check_text(value: str) -> None:
    try:
        check_text(value)
    except InvalidArgument as error:
        raise ValueError(error.message) from error


class TalkOptions(Options):
    """``text`` is plain or SSML (``<speak>…</speak>``), ``language`` a BCP 47 tag."""

    text: Annotated[str, Field(min_length=1, max_length=5000), unless_variable(_check_text)] = Field(
        description="What to say: plain text, or SSML in a `<speak>` element; at most 5000 characters."
    )
    language: str = Field(
        default="en-US", min_length=2, max_length=35, description="BCP 47 language tag, for example `en-US`."
    )
    provider: Literal["", "gcp", "aws"] = Field(
        default="", description="Accepted for compatibility; Ringline's own engines speak."
    )
    gender: Literal["", "male", "female", "neutral"] = Field(
        default="", description="Accepted for compatibility; choose a voice with `voice_id`."
    )
    voice_id: str = Field(
        default="", max_length=128, description="A voice of the engine; empty: its default."
    )
    digits_handle: Literal["", "next"] = Field(
        default="", description="`next`: any key pressed ends the speech and goes on."
    )
    asynchronous: bool = Field(default=False, alias="async", description="Go on at once while it is spoken.")


class Talk(Action):
    """Speak and go on when it was said (or at once with ``async``)."""

    type: Literal["talk"]
    option: TalkOptions

    async def run(self, context: Context) -> Result:
        option = self.option
        prompt = await context.media.speech(option.text, option.language, option.voice_id)
        if option.asynchronous:
            if context.progress.resumed and context.progress.get("begun"):
                return Next()
            context.progress.keep(begun=True)
            context.leg.play_behind([prompt])
            return Next()
        playing = context.progress.playing()
        await context.leg.play([prompt], stop_on_digit=option.digits_handle == "next", playing=playing)
        return Next(waited=True)

    async def prepare(self, media: Media) -> None:
        await media.speech(self.option.text, self.option.language, self.option.voice_id)

    def waits(self) -> bool:
        return not self.option.asynchronous

    def languages(self) -> dict[str, str]:
        return {"option.language": self.option.language}
