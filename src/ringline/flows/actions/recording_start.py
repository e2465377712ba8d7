"""``recording_start``: record the call, both directions, while the flow goes on."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from ringline.calls.call import ZERO
from ringline.calls.recording import EndKey, Format, RecordingWanted
from ringline.flows.actions.base import Action, Context, Media, Options
from ringline.flows.engine import Next, Result

MAX_SECONDS = 86_400


class RecordingStartOptions(Options):
    """The recording ends with the first of: ``recording_stop``, the call, and the ends that are given here."""

    format: Format = Field(default="wav", description="`wav` (8 kHz, 16 bit, mono), `mp3` or `ogg`.")
    end_of_silence: int = Field(
        default=0,
        ge=0,
        le=3600,
        description="End after so many seconds in which nobody spoke; 0: no such end.",
    )
    end_of_key: EndKey | Literal[""] = Field(
        default="none",
        description="End when the other side presses this key (`any`: whichever). `digits_receive` gets it, too.",
    )
    duration: int = Field(
        default=0,
        ge=0,
        le=MAX_SECONDS,
        description="End after so many seconds; 0: the longest that is allowed.",
    )
    beep_start: bool = Field(default=False, description="Play a beep before it begins.")
    on_end_flow_id: UUID = Field(
        default=ZERO, description="A stored flow to run, without a call, when the recording has ended."
    )


class RecordingStart(Action):
    """Record the call. One recording at a time: while one lasts this fails and the flow goes on."""

    type: Literal["recording_start"]
    option: RecordingStartOptions = RecordingStartOptions()
    changes_variables = True

    async def run(self, context: Context) -> Result:
        option, progress = self.option, context.progress
        if option.beep_start and not progress.get("beeped"):
            await context.leg.play([await context.media.beep()])
            progress.keep(beeped=True)
        made = await context.leg.record(
            RecordingWanted(
                id=progress.id(),
                format=option.format,
                end_of_silence=option.end_of_silence,
                end_of_key=option.end_of_key or "none",
                duration=option.duration,
                on_end_flow_id=option.on_end_flow_id,
                activeflow_id=context.activeflow_id,
                resumed=progress.resumed,
            )
        )
        context.state.variables.update(made.variables)
        return Next(waited=option.beep_start)

    def flow_ids(self) -> dict[str, UUID]:
        return {"option.on_end_flow_id": self.option.on_end_flow_id}

    async def prepare(self, media: Media) -> None:
        if self.option.beep_start:
            await media.beep()
