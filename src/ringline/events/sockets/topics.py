"""What a reader may ask for: the events of a customer or of an agent, of one kind of resource, or of one resource."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from ringline.errors import InvalidArgument, PermissionDenied
from ringline.events.envelope import encode
from ringline.events.models import Published
from ringline.http import Permission, Principal

READERS: Final = Permission.PROJECT_SUPER_ADMIN | Permission.CUSTOMER_ADMIN | Permission.CUSTOMER_MANAGER
_RESOURCE = re.compile(r"[a-z][a-z_]{0,63}")
_PARTS = 4
_LONGEST = 200
_AGENT_FIELDS: Final = ("agent_id", "service_agent_id", "owner_id")
_ADDRESS_FIELDS: Final = ("source", "destination", "destinations")


class TopicForbidden(PermissionDenied):
    """403: the topic is somebody else's; also where there is no such customer or agent."""

    default_reason = "TOPIC_FORBIDDEN"


class Line:
    """A published event on its way to sockets: written as JSON once, whoever gets it."""

    def __init__(self, published: Published) -> None:
        event = published.event
        self.number = published.published
        self.customer_id = event.customer_id
        self.resource = event.resource
        self.resource_id = event.resource_id
        self._published = published

    @cached_property
    def encoded(self) -> bytes:
        return encode(self._published)

    @cached_property
    def agents(self) -> frozenset[str]:
        """Agents whom it concerns: it happened to them, or the resource names them."""
        found = set(_agents(self._published.event.data))
        if self.resource == "agent":
            found.add(str(self.resource_id))
        return frozenset(found)


def _agents(data: Mapping[str, Any]) -> Iterator[str]:
    for name in _AGENT_FIELDS:
        if isinstance(named := data.get(name), str):
            yield named
    for name in _ADDRESS_FIELDS:
        given = data.get(name)
        for address in given if isinstance(given, list) else [given]:
            if isinstance(address, Mapping) and address.get("type") == "agent":
                yield str(address.get("target"))


@dataclass(frozen=True, slots=True)
class Topic:
    """``customer_id:<id>[:<resource>[:<resource id>]]`` or ``agent_id:<id>[:<resource>[:<resource id>]]``."""

    text: str
    owner: str
    owner_id: UUID
    resource: str = ""
    resource_id: UUID | None = None

    def matches(self, line: Line) -> bool:
        """Whether the event is one of these; that it is of the right customer is seen to already."""
        if self.resource and line.resource != self.resource:
            return False
        if self.resource_id is not None and line.resource_id != self.resource_id:
            return False
        return self.owner == "customer_id" or str(self.owner_id) in line.agents

    def check(self, principal: Principal) -> None:
        """Raises ``TopicForbidden`` unless this reader may have it."""
        if self.owner == "agent_id":
            if self.owner_id != principal.agent_id:
                raise TopicForbidden(
                    f"{self.text}: the events of an agent are for that agent; it needs the token of its login."
                )
        elif self.owner_id != principal.customer_id:
            raise TopicForbidden(f"{self.text}: it must be your own customer, {principal.customer_id}.")
        elif not principal.permission & READERS:
            raise TopicForbidden(
                f"{self.text}: the events of a customer are for its admins and managers, and for access keys."
                f" Yours are those of agent_id:{principal.agent_id}."
            )


def parse(text: object) -> Topic:
    """The topic. Raises ``InvalidArgument`` with a sentence that says what would be right."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise InvalidArgument("A topic is a text such as `customer_id:<id>` or `customer_id:<id>:call`.")
    owner, *rest = text.split(":")
    if owner not in ("customer_id", "agent_id") or not 1 <= len(rest) < _PARTS:
        raise InvalidArgument(
            f"{text!r} is no topic: it is `customer_id:<id>` or `agent_id:<id>`, and may go on with `:<resource>`"
            " (such as call) and `:<id of the resource>`."
        )
    resource = rest[1] if len(rest) > 1 else ""
    if len(rest) > 1 and not _RESOURCE.fullmatch(resource):
        raise InvalidArgument(
            f"{text!r}: a resource is a word in small letters, such as `call` or `queuecall`."
        )
    resource_id = _uuid(text, rest[2]) if len(rest) > 2 else None
    return Topic(text, owner, _uuid(text, rest[0]), resource, resource_id)


def _uuid(topic: str, text: str) -> UUID:
    try:
        if len(text) == 36:
            return UUID(text)
    except ValueError:
        pass
    raise InvalidArgument(f"{topic!r}: an id is a UUID such as f457951b-9918-44af-a834-2216b1cc31bc.")
