"""``message_send``: send a text."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, ValidationInfo

from ringline.errors import InvalidArgument
from ringline.flows.actions.base import Action, ActionFailed, Context, Options, count, final
from ringline.flows.engine import Next, Result
from ringline.flows.variables import has_reference
from ringline.sip import e164
from ringline.sip.address import Address

ZERO = UUID(int=0)
MAX_MESSAGES = 100
"""Of one flow: a loop around ``message_send`` ends here."""
MAX_DESTINATIONS = 10
MAX_CHARACTERS = 1600
_CUT = "..."
_OWN = "voipbin.message.destination.target"


def _check_number(address: Address, info: ValidationInfo) -> Address:
    # what variables make of it is judged when it is sent
    if final(info) or has_reference(address.target):
        return address
    if address.type != "tel":
        raise ValueError(f"type: texts go between `tel` addresses, not `{address.type}`")
    try:
        e164.check(address.target, "target")
    except InvalidArgument as error:
        raise ValueError(error.message) from error
    return address


def _check_source(address: Address, info: ValidationInfo) -> Address:
    return _check_number(address, info) if address.target else address


def _check_text(text: str, info: ValidationInfo) -> str:
    if final(info):
        # dots, for a character beyond GSM's alphabet would make it three times as many parts
        return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - len(_CUT)] + _CUT
    if has_reference(text):
        return text
    if not text.strip():
        raise ValueError("is empty; a message needs a text")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"has {len(text)} characters; at most {MAX_CHARACTERS} can be sent in one message")
    return text


class MessageSendOptions(Options):
    """Whom to text, and what."""

    source: Annotated[
        Address,
        AfterValidator(_check_source),
        Field(
            description="One of your active normal numbers; left out, in the flow of a text the number that was"
            " texted. One that cannot be used gives way to your default outgoing number."
        ),
    ] = Address(type="tel")
    destinations: list[Annotated[Address, AfterValidator(_check_number)]] = Field(
        min_length=1,
        max_length=MAX_DESTINATIONS,
        description="`tel` addresses with numbers in E.164. Duplicates are sent once.",
    )
    text: Annotated[str, AfterValidator(_check_text)] = Field(
        description=f"At most {MAX_CHARACTERS} characters; what its variables make longer is cut."
    )


class MessageSend(Action):
    """Send a text and go on at once. The flow ends where it cannot be sent to anybody at all."""

    type: Literal["message_send"]
    option: MessageSendOptions
    needs_call = False
    fatal = True

    async def run(self, context: Context) -> Result:
        option, texts = self.option, context.services.texts
        source = option.source
        if not source.target:
            source = source.model_copy(update={"target": context.lookup(_OWN)})
        if texts is None:
            numbers = ", ".join(address.target for address in option.destinations)
            context.leg.note("message_send", f"to {numbers}: {option.text}")
            return Next()
        if not count(context.state, "message_send", MAX_MESSAGES):
            raise ActionFailed("MESSAGE_LIMIT", f"a flow may send {MAX_MESSAGES} messages")
        await texts.send(
            context.progress.id("message"),
            context.leg.call.customer_id,
            source=source,
            destinations=option.destinations,
            text=option.text,
            activeflow_id=context.activeflow_id,
            answers=_answers(context),
        )
        return Next()


def _answers(context: Context) -> UUID:
    """The message that the flow runs for."""
    if context.lookup("voipbin.activeflow.reference_type") != "message":
        return ZERO
    try:
        return UUID(context.lookup("voipbin.activeflow.reference_id"))
    except ValueError:
        return ZERO
