"""Whether vendors can reach us."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

_INSIDE: Final = (".local", ".internal", ".invalid", ".test", ".localhost")


def reachable(url: str) -> bool:
    """Whether somebody out there could reach this, as far as it can be seen from here."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_INSIDE)
