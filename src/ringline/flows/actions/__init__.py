"""All actions, one module each, registered here."""

from __future__ import annotations

import sys
from functools import cache, lru_cache
from typing import Annotated, Any, Final, cast, get_args
from uuid import UUID

import orjson
from pydantic import Field, TypeAdapter

from ringline.flows.actions.amd import Amd
from ringline.flows.actions.answer import Answer
from ringline.flows.actions.base import AT_RUN_TIME, Action, ActionFailed, Context, Media
from ringline.flows.actions.beep import Beep
from ringline.flows.actions.branch import Branch
from ringline.flows.actions.call import Call, CallOptions
from ringline.flows.actions.condition_call_digits import ConditionCallDigits
from ringline.flows.actions.condition_call_status import ConditionCallStatus
from ringline.flows.actions.condition_datetime import ConditionDatetime
from ringline.flows.actions.condition_variable import ConditionVariable
from ringline.flows.actions.confbridge_join import ConfbridgeJoin
from ringline.flows.actions.conference_join import ConferenceJoin
from ringline.flows.actions.connect import Connect
from ringline.flows.actions.digits_receive import DigitsReceive
from ringline.flows.actions.digits_send import DigitsSend
from ringline.flows.actions.echo import Echo, StreamEcho
from ringline.flows.actions.external_media_start import ExternalMediaStart
from ringline.flows.actions.external_media_stop import ExternalMediaStop
from ringline.flows.actions.fetch import Fetch
from ringline.flows.actions.fetch_flow import FetchFlow
from ringline.flows.actions.goto import Goto
from ringline.flows.actions.hangup import Hangup
from ringline.flows.actions.hangup_relay import HangupRelay
from ringline.flows.actions.message_send import MessageSend
from ringline.flows.actions.mute import Mute
from ringline.flows.actions.play import Play
from ringline.flows.actions.queue_join import QueueJoin
from ringline.flows.actions.recording_start import RecordingStart
from ringline.flows.actions.recording_stop import RecordingStop
from ringline.flows.actions.services import Calls, NewCalls, Services
from ringline.flows.actions.sleep import Sleep
from ringline.flows.actions.stop import Stop
from ringline.flows.actions.talk import Talk
from ringline.flows.actions.variable_set import VariableSet
from ringline.flows.actions.webhook_send import WebhookSend

__all__ = [
    "Action",
    "ActionFailed",
    "AnyAction",
    "Call",
    "Calls",
    "Connect",
    "Context",
    "Media",
    "NewCalls",
    "Services",
    "kinds",
    "one",
    "ready",
    "several",
]

AnyAction = Annotated[
    Amd
    | Answer
    | Beep
    | Branch
    | Call
    | ConditionCallDigits
    | ConditionCallStatus
    | ConditionDatetime
    | ConditionVariable
    | ConfbridgeJoin
    | ConferenceJoin
    | Connect
    | DigitsReceive
    | DigitsSend
    | ExternalMediaStart
    | ExternalMediaStop
    | Fetch
    | FetchFlow
    | Echo
    | Goto
    | Hangup
    | HangupRelay
    | MessageSend
    | Mute
    | Play
    | QueueJoin
    | RecordingStart
    | RecordingStop
    | Sleep
    | Stop
    | StreamEcho
    | Talk
    | VariableSet
    | WebhookSend,
    Field(discriminator="type"),
]
"""Any action, told apart by its ``type``."""

# a call has actions of its own, which may be calls: its module finds the name when its models are built
vars(sys.modules[Call.__module__])["AnyAction"] = AnyAction


@cache
def one() -> TypeAdapter[Action]:
    """Reads an action of any kind. Made when it is first needed, as the models are (``Action``)."""
    complete()
    return TypeAdapter(AnyAction)


@cache
def several() -> TypeAdapter[list[Action]]:
    """Reads a list of actions."""
    complete()
    return cast("TypeAdapter[list[Action]]", TypeAdapter(list[AnyAction]))


@cache
def complete() -> None:
    """Let the fields of a call's options know what actions are, for who looks at them (``http.places``)."""
    CallOptions.model_rebuild()


@cache
def kinds() -> dict[str, type[Action]]:
    """Every action by its ``type``, old names included; an action's own name stands before its old ones."""
    return {
        name: member
        for member in get_args(get_args(AnyAction)[0])
        for name in get_args(member.model_fields["type"].annotation)
    }


MAX_KNOWN_BYTES = 2048
"""Longer actions are checked each time, so that texts made for one call do not fill the memory."""

_PLACE: Final = ("id", "next_id")


def ready(raw: dict[str, Any]) -> Action:
    """The action to run, from its JSON with variables put in. Raises pydantic's ``ValidationError``.

    What was checked once is not checked again: most actions are the same on every call of their flow, and those
    that came with a call differ in nothing but their ids.
    """
    text = orjson.dumps({key: value for key, value in raw.items() if key not in _PLACE})
    action = (_known if len(text) <= MAX_KNOWN_BYTES else _check)(text, raw["type"])
    return action.model_copy(update={key: UUID(raw[key]) for key in _PLACE if key in raw})


@lru_cache(maxsize=1024)
def _known(text: bytes, name: str) -> Action:
    return _check(text, name)


def _check(text: bytes, name: str) -> Action:
    # each by its own kind: after a restart a call waits for no more of them than it uses
    kind = kinds().get(name)
    if kind is None:
        return one().validate_json(text, context=AT_RUN_TIME)  # which says what is wrong with it
    return kind.model_validate_json(text, context=AT_RUN_TIME)
