"""How providers are: what Kamailio finds out about them (``kamailio-config/providers.cfg``)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import structlog

from ringline.errors import Unavailable
from ringline.routing.kamailio import KamailioRpc
from ringline.routing.models import Provider
from ringline.routing.registrations import Registrations

log = structlog.get_logger(__name__)

Status = Literal["up", "down", "unknown"]
RegistrationStatus = Literal["off", "registered", "unregistered", "unknown"]

_STATES: dict[int, Status] = {1: "up", 2: "down"}
# Flags of the uac module's records.
_ONLINE = 1 << 2


@dataclass(frozen=True, slots=True)
class Registration:
    """``unregistered`` with ``error`` says what the registrar answered last, such as ``403``."""

    status: RegistrationStatus = "off"
    error: str = ""
    tm_expire: datetime | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """``tm_status`` is when the status began, ``code`` what the last OPTIONS was answered with (0: nothing yet),
    ``latency_ms`` how long that took, ``failovers`` how many calls went on to another one since Kamailio started.
    """

    status: Status = "unknown"
    tm_status: datetime | None = None
    code: int = 0
    latency_ms: int = 0
    failovers: int = 0
    registration: Registration = Registration()


class ProviderHealth:
    """Asks Kamailio; where it does not answer everything is unknown."""

    def __init__(self, kamailio: KamailioRpc) -> None:
        self._kamailio = kamailio
        self._registrations = Registrations(kamailio)

    async def of(self, *providers: Provider) -> list[Health]:
        """How these are, in their order."""
        try:
            table = await self._kamailio.table("provider_health")
            wanted = any(provider.registration for provider in providers)
            records = await self._registrations.records() if wanted else {}
        except Unavailable as error:
            log.warning("provider_health_unknown", error=error.message)
            registered = Health(registration=Registration("unknown"))
            return [registered if provider.registration else Health() for provider in providers]
        facts: dict[str, dict[str, int]] = defaultdict(dict)
        for name, value in table.items():
            # what is no id is the URI of a registration
            key, _, fact = (name, "", "") if name.startswith("sip:") else name.partition("::")
            facts[key][fact] = int(value)
        return [_health(provider, facts, records) for provider in providers]


def _health(
    provider: Provider, facts: dict[str, dict[str, int]], records: dict[str, dict[str, Any]]
) -> Health:
    known = facts.get(str(provider.id), {})
    found = Health(failovers=known.get("failed", 0))
    if provider.health_check and known.get("state") in _STATES:
        found = replace(
            found,
            status=_STATES[known["state"]],
            tm_status=datetime.fromtimestamp(known.get("since", 0), UTC),
            code=known.get("code", 0),
            latency_ms=known.get("ms", 0),
        )
    if provider.registration:
        # the registrar's last answer is noted under the URI that is registered
        host = f"[{provider.hostname}]" if ":" in provider.hostname else provider.hostname
        answer = facts.get(f"sip:{provider.username}@{host}", {}).get("", 0)
        record = records.get(provider.registration_contact or provider.id.hex)
        found = replace(found, registration=_registration(record, answer))
    return found


def _registration(record: dict[str, Any] | None, answer: int) -> Registration:
    left = int(record.get("diff_expires", 0)) if record else 0
    if record and int(record.get("flags", 0)) & _ONLINE and left > 0:
        moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=left)
        return Registration("registered", "", moment)
    if answer in (401, 407):
        return Registration("unregistered", f"{answer}: the registrar does not take username and password")
    if answer >= 300:
        return Registration("unregistered", str(answer))
    return Registration("unregistered", "" if answer else "the registrar has not answered yet")
