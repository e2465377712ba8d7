"""Who calls and who is called, as ``connect`` and ``call`` write it in their options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from ringline.calls import destinations
from ringline.errors import InvalidArgument
from ringline.flows.actions.base import final
from ringline.flows.variables import has_reference
from ringline.sip import e164
from ringline.sip.address import Address

MAX_DESTINATIONS = 10


def _check_number(address: Address) -> None:
    if has_reference(address.target):
        return
    try:
        e164.check(address.target, "target")
    except InvalidArgument as error:
        raise ValueError(error.message) from error


def _check_destination(address: Address, info: ValidationInfo) -> Address:
    # once its variables are known each destination is judged for itself, when it is called
    if final(info):
        return address
    if not has_reference(address.target):
        try:
            destinations.check(address, "")
        except InvalidArgument as error:
            raise ValueError(error.message.removeprefix(".")) from error
    return address


def _check_source(address: Address, info: ValidationInfo) -> Address:
    # a caller without a number is a source like any other: the leg then goes out as Anonymous
    if not final(info) and address.type == "tel" and address.target:
        _check_number(address)
    return address


Source = Annotated[
    Address,
    AfterValidator(_check_source),
    Field(
        description="Whose number is shown: an active normal number of yours; else your default outgoing number is"
        " used, and without one the call is anonymous."
    ),
]
Destinations = Annotated[
    list[Annotated[Address, AfterValidator(_check_destination)]],
    Field(
        min_length=1,
        max_length=MAX_DESTINATIONS,
        description="Whom to call: `tel` with a number in E.164, `sip` with `user@host`, `extension` with its name or"
        " id, `agent` with an id. One that turns out not to be callable when its variables are known is left out as"
        " long as another one is.",
    ),
]
Anonymous = Annotated[
    Literal["", "yes", "no", "auto"],
    Field(
        description="`yes` hides the number, `no` shows it, `auto` (also empty) does as the incoming call did."
    ),
]
