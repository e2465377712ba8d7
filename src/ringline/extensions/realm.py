"""SIP realms: a customer's, ``<label>.<SIP domain>``, and a trunk's, ``<domain_name>.trunk.<SIP domain>``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_TRUNK = re.compile(r"[a-z][a-z0-9.-]{1,30}", re.ASCII)
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.ASCII)


def customer_realm(label: str, sip_domain: str) -> str:
    """The realm of a customer's extensions."""
    return f"{label}.{sip_domain.lower()}"


def trunk_realm(domain_name: str, sip_domain: str) -> str:
    """The realm of a trunk."""
    return f"{domain_name}.trunk.{sip_domain.lower()}"


def check_trunk_domain(text: str) -> str:
    """A trunk's first label, or labels, in small letters. Raises ``ValueError``."""
    name = text.lower()
    if not _TRUNK.fullmatch(name) or not _HOST.fullmatch(name):
        raise ValueError(
            "must be 2 to 31 letters, digits, dots and hyphens, a letter first, that make a part of a host "
            "name, such as "
            "`acme-pbx`"
        )
    return name


TrunkDomain = Annotated[
    str,
    AfterValidator(check_trunk_domain),
    Field(
        description="The first part of the trunk's realm: 2 to 31 letters, digits, dots and hyphens, a letter "
        "first, kept "
        "in small letters. Unique in the installation."
    ),
]
