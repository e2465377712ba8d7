"""Addresses of servers, as ``fetch`` and ``webhook_send`` write them in their options."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationInfo

from ringline.errors import InvalidArgument
from ringline.flows.actions.base import ActionFailed, final
from ringline.flows.variables import Lookup, TooLong, fill_url, has_reference
from ringline.media.address_guard import check_url

ANYWHERE: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


def _check_form(value: str, info: ValidationInfo) -> str:
    """Whether it is an address of the web; at run time it is put together and judged by ``ready_url``."""
    if final(info) or has_reference(value):
        return value
    try:
        check_url(value, ANYWHERE)
    except InvalidArgument as error:
        raise ValueError(error.message) from error
    return value


Url = Annotated[
    str,
    Field(
        min_length=1,
        description="An http or https URL of a public server. Variables in its path and query are percent-encoded as"
        " they are put in.",
    ),
    AfterValidator(_check_form),
]


def ready_url(written: str, lookup: Lookup) -> str:
    """The URL with its variables put in. Raises ``ActionFailed`` where none comes of it."""
    try:
        url = fill_url(written, lookup)
        check_url(url, ANYWHERE)
    except TooLong:
        raise ActionFailed("INVALID_OPTION", "the URL grew too long with its variables") from None
    except InvalidArgument as error:
        raise ActionFailed("INVALID_OPTION", error.message) from None
    return url
