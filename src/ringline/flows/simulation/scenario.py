"""What the world does while a flow is tried: who calls, which keys are pressed, who answers, what servers say."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from ringline.flows.check import FlowActions
from ringline.http import RequestModel

MAX_SECONDS: Final = 3600.0
"""A call lasts no longer (``Settings.max_call_seconds``), and neither does one that is tried."""

_KEYS = re.compile(r"(?P<keys>[0-9A-Da-d#*]{0,100}|-)(@(?P<at>\d{1,4}(\.\d{1,3})?))?")


def _check_keys(value: str) -> str:
    if _KEYS.fullmatch(value) is None:
        raise ValueError(
            "must be keys (0-9, A-D, # and *) such as `42#`, or keys and a moment in seconds such as `1@7.5`;"
            " `-` presses nothing"
        )
    return value


Keys = Annotated[str, AfterValidator(_check_keys)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]


class Party(RequestModel):
    """What becomes of one ``connect``."""

    answers_after: Annotated[float, Field(ge=0, le=60)] | None = Field(
        default=1.0, description="Seconds of ringing until somebody answers; `null`: nobody does."
    )
    talks_for: Seconds = Field(default=10.0, description="How long the conversation lasts, in seconds.")


class WebAnswer(RequestModel):
    """What a server answers to ``fetch`` and ``webhook_send``."""

    url: str = Field(
        min_length=1, max_length=2048, description="The address; with a `*` at its end, its beginning."
    )
    method: Literal["", "GET", "POST", "PUT", "DELETE"] = Field(default="", description="Empty: any.")
    status: int = Field(default=200, ge=100, le=599)
    body: Any = Field(default=None, description="JSON, or a text that is sent as it is.")
    fails: Literal["", "TIMEOUT", "FORBIDDEN", "TOO_LARGE", "FAILED"] = Field(
        default="", description="Instead of an answer: why there is none."
    )


class Scenario(RequestModel):
    """What happens on the tried call. Everything has a default: nobody presses a key, everybody answers."""

    direction: Literal["outgoing", "incoming"] = "outgoing"
    source: str = Field(default="+15551234567", max_length=255, description="Who calls.")
    destination: str = Field(default="+15559876543", max_length=255, description="Who is called.")
    variables: dict[str, str] = Field(default={}, description="As in `POST /v1.0/calls`.")
    text: str | None = Field(
        default=None,
        max_length=10_000,
        description="What `source` texts to `destination`: the flow then runs for this text, and there is no call.",
    )
    digits: list[Keys] = Field(
        default=[],
        max_length=1000,
        description="Keys of the other side. `42#` is pressed when the flow waits for keys, one text for each"
        " `digits_receive`; `1@7.5` is pressed 7.5 s after the start; `-` presses nothing.",
    )
    hangup_at: Seconds | None = Field(
        default=None, description="When the other side hangs up, in seconds from the start."
    )
    parties: list[Party] = Field(
        default=[],
        max_length=100,
        description="What becomes of each `connect`, in order; the last holds for the rest.",
    )
    answerer: Literal["HUMAN", "MACHINE", "NOTSURE"] = Field(
        default="HUMAN", description="Who answers, as `amd` finds out."
    )
    stays_for: Seconds = Field(
        default=10.0,
        description="How long it takes until the call leaves a conference that it joined, in seconds.",
    )
    web: list[WebAnswer] = Field(
        default=[],
        max_length=100,
        description="Answers of servers, the first that fits is taken. Nothing is ever requested for real: without an"
        " answer here `fetch` gets no actions and `webhook_send` a 200.",
    )
    files: dict[str, Seconds] = Field(
        default={}, max_length=100, description="How long audio files last, by address, in seconds; else 3 s."
    )
    flows: dict[UUID, FlowActions] = Field(
        default={}, max_length=20, description="Flows for `fetch_flow` and `call`, before the stored ones."
    )
    now: datetime | None = Field(
        default=None,
        description="The moment at which the call starts, for `condition_datetime`; else the present.",
    )

    def timed_keys(self) -> list[tuple[float, str]]:
        """Keys that are pressed at their moments, by seconds from the start."""
        found = []
        for text in self.digits:
            match = _KEYS.fullmatch(text)
            if match and match["at"]:
                start = float(match["at"])
                found += [(start + 0.2 * index, key) for index, key in enumerate(match["keys"].upper())]
        return sorted(found)

    def asked_keys(self) -> list[str]:
        """Keys for each time that the flow waits for some."""
        return [text.strip("-").upper() for text in self.digits if "@" not in text]
