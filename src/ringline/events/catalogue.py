"""Every event there is: what it happens to, and when."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_CREATED, _UPDATED, _DELETED = "It was made.", "Something of it changed.", "It was deleted."


def _usual(resource: str, **more: str) -> dict[str, str]:
    return {
        f"{resource}_created": _CREATED,
        f"{resource}_updated": _UPDATED,
        f"{resource}_deleted": _DELETED,
        **{f"{resource}_{name}": text for name, text in more.items()},
    }


BY_RESOURCE: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "call": {
            "call_created": "An outgoing call was accepted, or an incoming one was let in.",
            "call_dialing": "It is being dialled.",
            "call_ringing": "It rings: the far side of an outgoing call, or we for an incoming one.",
            "call_progressing": "It was answered.",
            "call_terminating": "It is being hung up from our side.",
            "call_canceling": "It is being given up from our side before it was answered.",
            "call_hangup": "It has ended; the record is final.",
            "call_updated": "Something else of it changed: hold, mute, recordings, failures of its flow. Changes"
            " within a fraction of a second are told together, or with the step that follows them.",
            "call_deleted": "Its record was deleted.",
        },
        "groupcall": {
            "groupcall_created": "A groupcall was accepted.",
            "groupcall_progressing": "It rings its destinations.",
            "groupcall_hangingup": "Its calls are being ended.",
            "groupcall_hangup": "All its calls have ended.",
            "groupcall_updated": "Something else of it changed: who answered, its calls.",
            "groupcall_deleted": "Its record was deleted.",
        },
        "activeflow": {
            "activeflow_created": "A run of a flow was made.",
            "activeflow_updated": "It began (`running`), or has ended (`ended`).",
            "activeflow_deleted": "Its record was deleted.",
        },
        "queuecall": {
            "queuecall_created": "A caller joined a queue.",
            "queuecall_waiting": "The caller waits; also again, after an agent did not answer.",
            "queuecall_connecting": "An agent is rung.",
            "queuecall_serviced": "An agent has answered.",
            "queuecall_done": "The conversation is over.",
            "queuecall_abandoned": "The caller left without having reached an agent.",
            "queuecall_updated": _UPDATED,
            "queuecall_deleted": "Its record was deleted.",
        },
        "recording": {
            "recording_started": "Sound is being recorded.",
            "recording_finished": "It has ended, and its file can be downloaded if there is one.",
            "recording_updated": "Something else of it changed.",
            "recording_deleted": "It was deleted, and its file.",
        },
        "conference": _usual("conference"),
        "conferencecall": {
            "conferencecall_created": "A call is about to join a conference.",
            "conferencecall_joined": "It is in the conference.",
            "conferencecall_leaved": "It has left, or did not come in.",
        },
        "transfer": {
            "transfer_created": "A transfer was begun.",
            "transfer_updated": "It took a step: `consulting`, `completed`, `canceled`, `failed`.",
        },
        "message": {
            "message_created": "A text was accepted for sending, or received.",
            "message_updated": "What is known of one of its targets changed: sent, delivered, failed.",
            "message_deleted": _DELETED,
        },
        "number": _usual("number", renewed="Another month was paid."),
        "flow": _usual("flow"),
        "queue": _usual("queue"),
        "agent": _usual("agent"),
        "tag": _usual("tag"),
        "extension": _usual("extension"),
        "trunk": _usual("trunk"),
        "customer": _usual("customer"),
        "billing_account": {
            **_usual("billing_account"),
            "billing_account_updated": "Its plan or name changed, or money was added. Charges are not told of.",
        },
        "webhook": {
            "webhook_disabled": "Nothing is sent there any more: it answered 410, or for days nothing has arrived.",
        },
    }
)

TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {name: text for types in BY_RESOURCE.values() for name, text in types.items()}
)
"""The text of each type."""
