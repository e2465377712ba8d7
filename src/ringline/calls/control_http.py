"""The routes that control a live call: hold, music, silence, mute."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import Field

from ringline.calls.call import Call
from ringline.calls.control import Controls, Sounding, added, removed
from ringline.calls.models import CallView, view
from ringline.calls.service import CallService
from ringline.errors import FailedPrecondition, NotFound
from ringline.http import QueryModel, Request, RequestModel, Route

_WHICH = (
    "`in`: what the other side says, nobody hears it; `out`: what it would hear, it hears nothing; `both`."
)


class MuteBody(RequestModel):
    """Which direction to mute, or to mute no more."""

    direction: Literal["", "both", "in", "out"] = Field(default="", description=f"{_WHICH} Default: `both`.")


class MuteQuery(QueryModel):
    """The same as in the body, which wins."""

    direction: Literal["", "both", "in", "out"] = Field("", description=_WHICH)


def routes(calls: CallService, controls: Controls) -> list[Route]:
    async def act(request: Request[object, object], change: Callable[[Call], Awaitable[None]]) -> CallView:
        record, action = await calls.get(request.principal.customer_id, request.path["call_id"])
        if not isinstance(record, Call):
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
