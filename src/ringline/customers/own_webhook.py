"""The customer's own webhook: refused where nothing may be sent, before it is stored."""

from __future__ import annotations

from collections.abc import Callable

from ringline.errors import InvalidArgument

CheckUrl = Callable[[str], object]
"""Raises ``InvalidArgument`` for where nothing may be sent (``address_guard.check_url``)."""


def check_webhook_uri(uri: str, check_url: CheckUrl | None) -> None:
    """Raises ``InvalidArgument``. Empty is none; names are judged when they are resolved, each time."""
    if not uri or check_url is None:
        return
    try:
        check_url(uri)
    except InvalidArgument as error:
        raise InvalidArgument(
            f"`webhook_uri`: {error.message}", details=[{"field": "webhook_uri", "message": error.message}]
        ) from None
