"""All actions, one module each, registered here."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Annotated, Any, Final, get_args
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
    "ready",
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

# a call has actions of its own, which may be calls
CallOptions.model_rebuild(_types_namespace={"AnyAction": AnyAction})
Call.model_rebuild(force=True)


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
_adapter: TypeAdapter[Action] = TypeAdapter(AnyAction)


def ready(raw: dict[str, Any]) -> Action:
    """The action to run, from its JSON with variables put in. Raises pydantic's ``ValidationError``.

    What was checked once is not checked again: most actions are the same on every call of their flow, and those
    that came with a call differ in nothing but their ids.
    """
    text = orjson.dumps({key: value for key, value in raw.items() if key not in _PLACE})
    action = _known(text) if len(text) <= MAX_KNOWN_BYTES else _check(text)
    return action.model_copy(update={key: UUID(raw[key]) for key in _PLACE if key in raw})


@lru_cache(maxsize=1024)
def _known(text: bytes) -> Action:
    return _check(text)


def _check(text: bytes) -> Action:
    return _adapter.validate_json(text, context=AT_RUN_TIME)
