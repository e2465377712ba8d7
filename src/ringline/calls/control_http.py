"""The routes that control a live call: hold, music, silence, mute."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, Field

from ringline.calls.call import Call
from ringline.calls.control import Controls, Sounding, added, removed
from ringline.calls.models import CallView, view
from ringline.calls.service import CallService
from ringline.calls.whisper import Whispers
from ringline.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from ringline.http import QueryModel, Request, RequestModel, Route
from ringline.media import Prompt, check_text

_WHICH = (
    "`in`: what the other side says, nobody hears it; `out`: what it would hear, it hears nothing; `both`."
)


class MuteBody(RequestModel):
    """Which direction to mute, or to mute no more."""

    direction: Literal["", "both", "in", "out"] = Field(default="", description=f"{_WHICH} Default: `both`.")


class MuteQuery(QueryModel):
    """The same as in the body, which wins."""

    direction: Literal["", "both", "in", "out"] = Field("", description=_WHICH)


def _check_text(value: str) -> str:
    try:
        check_text(value)
    except InvalidArgument as error:
        raise ValueError(error.message) from error
    return value


class TalkBody(RequestModel):
    """What to say to the call, and how."""

    text: Annotated[str, Field(min_length=1, max_length=5000), AfterValidator(_check_text)] = Field(
        description="What to say: plain text, or SSML in a `<speak>` element; at most 5000 characters."
    )
    language: str = Field(
        default="en-US", min_length=2, max_length=35, description="BCP 47 language tag, for example `en-US`."
    )
    provider: Literal["", "gcp", "aws"] = Field(
        default="", description="Accepted for compatibility; Ringline's own engines speak."
    )
    voice_id: str = Field(
        default="", max_length=128, description="A voice of the engine; empty: its default."
    )
    digits_handle: Literal["", "next"] = Field(
        default="", description="`next`: any key that the party presses ends it."
    )


class Speech(Protocol):
    """What is needed of the media library (``ringline.media.MediaLibrary``)."""

    async def speech(self, text: str, language: str = "en-US", voice_id: str = "") -> Prompt: ...

    def check_language(self, language: str) -> str: ...


def routes(calls: CallService, controls: Controls, whispers: Whispers, media: Speech) -> list[Route]:
    async def act(request: Request[object, object], change: Callable[[Call], Awaitable[None]]) -> CallView:
        record, action = await calls.get(request.principal.customer_id, request.path["call_id"])
        if not isinstance(record, Call) or record.ended:
            raise FailedPrecondition("The call has ended.", reason="CALL_STATE_INVALID")
        await change(record)
        return view(record, action)

    def switch(name: Literal["hold", "moh", "silence"], *, on: bool) -> Callable[..., Awaitable[CallView]]:
        async def change(call: Call) -> None:
            if name == "hold":
                await controls.hold(call, on)
            else:
                sounding: Sounding = name
                await controls.sound(call, sounding, on)

        async def handle(request: Request[None, None]) -> CallView:
            return await act(request, change)  # type: ignore[arg-type]  # a request without a body

        return handle

    def muting(*, on: bool) -> Callable[..., Awaitable[CallView]]:
        async def handle(request: Request[MuteBody, MuteQuery]) -> CallView:
            direction = request.body.direction or request.query.direction or "both"

            async def change(call: Call) -> None:
                combine = added if on else removed
                await controls.mute(call, combine(call.mute_direction, direction), answered=True)

            return await act(request, change)  # type: ignore[arg-type]  # any body will do

        return handle

    async def talk(request: Request[TalkBody, None]) -> CallView:
        body = request.body

        async def say(call: Call) -> None:
            try:
                language = media.check_language(body.language)
            except InvalidArgument as error:
                raise InvalidArgument(f"language: {error.message}") from error
            prompt = await media.speech(body.text, language, body.voice_id)
            await whispers.say(call, prompt, stop_on_digit=body.digits_handle == "next")

        return await act(request, say)  # type: ignore[arg-type]  # any body will do

    def route(
        method: str, name: str, handler: Callable[..., Awaitable[CallView]], words: str, more: str
    ) -> Route:
        muted = name == "mute"
        return Route(
            method=method,
            path=f"/v1.0/calls/{{call_id}}/{name}",
            handler=handler,
            summary=words,
            description=f"{more} Asking again changes nothing. 409 `CALL_STATE_INVALID`: the call is not"
            " `progressing`.".lstrip(),
            tags=("calls",),
            body=MuteBody if muted else None,
            body_optional=muted,
            query=MuteQuery if muted else None,
            response=CallView,
            errors=(NotFound, FailedPrecondition),
        )

    return [
        route(method, name, muting(on=on) if name == "mute" else switch(name, on=on), words, more)  # type: ignore[arg-type]  # one of the three
        for (method, name), (on, words, more) in _OPERATIONS.items()
    ] + [
        Route(
            method="POST",
            path="/v1.0/calls/{call_id}/talk",
            handler=talk,
            summary="Speak to a call",
            description="That party hears it, nobody else, whatever else goes on: a prompt of its flow, a"
            " conversation, music on hold. The answer comes when the text was taken. Texts are spoken one after"
            " another, at most 10 may wait. While the party's sound is muted (`out`) it does not hear it. 409"
            " `CALL_STATE_INVALID`: the call is not `progressing`.",
            tags=("calls",),
            body=TalkBody,
            response=CallView,
            errors=(NotFound, FailedPrecondition, ResourceExhausted),
            idempotent=True,
        )
    ]


_UNTIL = " It ends with the call, by `DELETE`, or when the call is connected with somebody."
_OPERATIONS = {
    ("POST", "hold"): (
        True,
        "Put a call on hold",
        "The other side is told (SIP re-INVITE with `a=sendonly`) and hears music; what it says is not heard."
        " Prompts of the call's flow wait meanwhile, one that was being played begins anew afterwards."
        + _UNTIL,
    ),
    ("DELETE", "hold"): (False, "Take a call off hold", ""),
    ("POST", "moh"): (
        True,
        "Play music on hold to a call",
        "In place of everything else; what the other side says goes on being heard. Prompts of the call's flow wait"
        " meanwhile." + _UNTIL,
    ),
    ("DELETE", "moh"): (False, "Stop the music on hold", "A call that is on hold goes on hearing it."),
    ("POST", "silence"): (
        True,
        "Let a call hear silence",
        "In place of everything else, music included; what the other side says goes on being heard. Prompts of the"
        " call's flow wait meanwhile." + _UNTIL,
    ),
    ("DELETE", "silence"): (False, "Stop the silence", ""),
    ("POST", "mute"): (
        True,
        "Mute a call",
        "In addition to what is muted already. Keys that are pressed are still received. While a prompt is being"
        " played to a call that is not connected it takes effect when the prompt is over.",
    ),
    ("DELETE", "mute"): (False, "Unmute a call", "The direction that is given, both by default."),
}
