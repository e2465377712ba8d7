"""What an address turns into when it is called: one leg, or the phones of somebody who has several.

The one place that reads the target of a destination. ``check`` looks at its form alone, for flows that are
stored; ``Destinations.resolve`` decides, when a call is placed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from ringline.customers import Customer
from ringline.errors import InvalidArgument, NotFound
from ringline.extensions import Extension
from ringline.media.address_guard import AddressForbidden, AddressGuard, Network
from ringline.sip import e164, target
from ringline.sip.address import Address
from ringline.sip.destination import is_emergency

CALLABLE = ("tel", "sip", "extension", "endpoint", "agent")
"""Types of addresses that can be called; ``endpoint`` is the old name of ``extension``."""
PLAIN = "kamailio"
"""Asterisk's endpoint of plain RTP."""
SRTP = "srtp"
"""That of encrypted sound whose key stands in the SDP."""
_PLAN = "US"
"""Whose emergency numbers are known as such besides 911 and 112; elsewhere they are no E.164 numbers all the same."""
_EXTENSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_REALM = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)


class RingMethod(StrEnum):
    """How several phones ring: all at once (also ``""``), or one after another."""

    DEFAULT = ""
    RING_ALL = "ring_all"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a leg is sent: the SIP URI that Kamailio is given, and what it has to know besides.

    ``outside``: to a host of strangers. ``telephone``: to the telephone network, by a provider. ``endpoint``: which
    of Asterisk's, by the kind of media (``kamailio``: plain RTP, ``webrtc``, ``srtp``). ``codecs``: the only ones
    that strangers are offered, with commas between them; empty for all.
    """

    uri: str
    transport: target.Transport = "udp"
    outside: bool = False
    telephone: bool = False
    endpoint: str = PLAIN
    codecs: str = ""

    @property
    def channel(self) -> str:
        """What Asterisk is asked to dial."""
        return f"PJSIP/{self.endpoint}/{self.uri}"

    def variables(self) -> dict[str, str]:
        """Channel variables, headers for Kamailio, which removes them."""
        variables: dict[str, str] = {}
        if self.transport != "udp":
            variables["PJSIP_HEADER(add,X-Ringline-Transport)"] = self.transport
        if self.endpoint != PLAIN:
            variables["PJSIP_HEADER(add,X-Ringline-Media)"] = self.endpoint
        if self.codecs:
            variables["PJSIP_HEADER(add,X-Ringline-Codecs)"] = self.codecs
        return variables


@dataclass(frozen=True, slots=True)
class Phones:
    """A destination that others stand for: it becomes a groupcall."""

    ring_method: RingMethod
    destinations: tuple[Address, ...]


class AgentContact(Protocol):
    """What is needed of an agent (``customers.Agent``)."""

    @property
    def customer_id(self) -> UUID: ...

    @property
    def ring_method(self) -> str: ...

    @property
    def addresses(self) -> Sequence[Address]: ...


class Agents(Protocol):
    """Agents by id (``customers.AgentDirectory``)."""

    def by_id(self, row_id: UUID) -> Any: ...


class Extensions(Protocol):
    """Extensions by id and by name (``extensions.ExtensionDirectory``)."""

    def by_id(self, row_id: UUID) -> Extension | None: ...

    def by_name(self, domain_name: str, extension: str) -> Extension | None: ...


class Registrations(Protocol):
    """What kinds of phones are registered with an extension (``extensions.RegistrationDirectory``)."""

    def kinds(self, extension_id: UUID) -> Collection[str]:
        """Endpoints of Asterisk's, those of ``Route.endpoint``."""


def check(address: Address, field: str) -> None:
    """Whether something of this form can be called. Raises ``InvalidArgument`` naming the field."""
    match address.type:
        case "tel":
            _number(address, field)
        case "sip":
            _sip_target(address, field)
        case "extension" | "endpoint":
            _extension_name(address, field)
        case "agent":
            _uuid(address, field)
        case _:
            raise InvalidArgument(
                f"{field}.type: {address.type!r} cannot be called; use one of {', '.join(CALLABLE)}"
            )


class Destinations:
    """Resolves addresses. Looks only into memory: the names of hosts are Kamailio's to resolve."""

    def __init__(
        self,
        *,
        sip_domain: str,
        extensions: Extensions | None = None,
        agents: Agents | None = None,
        registrations: Registrations | None = None,
        allowed_networks: Iterable[Network] = (),
        codecs: Callable[[UUID], str] = lambda _: "",
    ) -> None:
        """``allowed_networks``: addresses that may be called although they are not public. ``codecs``: those that a
        customer's calls to SIP addresses offer, ``""`` for all.
        """
        self._sip_domain = sip_domain.lower()
        self._extensions = extensions
        self._agents = agents
        self._registrations = registrations
        self._codecs = codecs
        self._guard = AddressGuard(allowed_networks)

    def resolve(self, customer: Customer, address: Address, field: str) -> Route | Phones:
        """Raises ``InvalidArgument`` or ``NotFound``, naming ``field``."""
        match address.type:
            case "tel":
                number = _number(address, field)
                telephone = not e164.is_virtual(number)
                return Route(f"sip:{number}@{self._sip_domain}", telephone=telephone)
            case "sip":
                return self._outside(customer, address, field)
            case "extension" | "endpoint":
                return Phones(RingMethod.RING_ALL, (address,))
            case "agent":
                return self._agent(customer, address, field)
        check(address, field)
        raise AssertionError("unreachable")

    def phone(self, customer: Customer, address: Address, field: str) -> tuple[Route, ...]:
        """Where one address of somebody's is reached: an extension by its SIP URI in the customer's realm.

        Phones of different kinds of media that are registered with it are legs of their own. One without any is
        called all the same: Kamailio says at once that nobody is there. Raises as ``resolve`` does.
        """
        if address.type not in ("extension", "endpoint"):
            found = self.resolve(customer, address, field)
            if isinstance(found, Route):
                return (found,)
            raise InvalidArgument(f"{field}.type: {address.type!r} cannot stand for a phone of its own")
        extension = self._extension(customer, address, field)
        uri = f"sip:{extension.extension}@{extension.domain_name}"
        kinds = () if self._registrations is None else self._registrations.kinds(extension.id)
        plain = SRTP if extension.srtp == "required" else PLAIN
        endpoints = [plain if kind == PLAIN else kind for kind in sorted(kinds)] or [plain]
        return tuple(Route(uri, endpoint=endpoint) for endpoint in endpoints)

    def _outside(self, customer: Customer, address: Address, field: str) -> Route:
        wanted = _sip_target(address, field)
        if wanted.host == self._sip_domain or wanted.host.endswith(f".{self._sip_domain}"):
            raise InvalidArgument(
                f"{field}.target: {wanted.host} is this installation itself; call its numbers with type `tel` and its"
                " phones with type `extension`"
            )
        if wanted.literal is not None:
            try:
                self._guard.check(wanted.literal)
            except AddressForbidden as error:
                raise InvalidArgument(f"{field}.target: {error}, it cannot be called") from None
        codecs = self._codecs(customer.id)
        return Route(f"sip:{wanted.address}", wanted.transport, outside=True, codecs=codecs)

    def _extension(self, customer: Customer, address: Address, field: str) -> Extension:
        name, realm = _extension_name(address, field)
        own = f"{customer.domain_label}.{self._sip_domain}"
        found: Extension | None = None
        if self._extensions is not None:
            if realm in ("", customer.domain_label, own):
                found = self._extensions.by_name(own, name)
            if found is None and not realm and (row_id := _as_uuid(name)) is not None:
                found = self._extensions.by_id(row_id)
        if found is None or found.customer_id != customer.id:
            message = f"{field}.target: you have no extension {address.target[:80]!r}"
            raise NotFound(
                message,
                reason="EXTENSION_NOT_FOUND",
                details=[{"field": f"{field}.target", "message": message}],
            )
        return found

    def _agent(self, customer: Customer, address: Address, field: str) -> Phones:
        agent_id = _uuid(address, field)
        agent: AgentContact | None = None if self._agents is None else self._agents.by_id(agent_id)
        if agent is None or agent.customer_id != customer.id:
            message = f"{field}.target: you have no agent {agent_id}"
            raise NotFound(
                message, reason="AGENT_NOT_FOUND", details=[{"field": f"{field}.target", "message": message}]
            )
        # an agent who is reached by another agent would be a circle
        phones = tuple(one for one in agent.addresses if one.type in ("tel", "sip", "extension", "endpoint"))
        if not phones:
            raise InvalidArgument(
                f"{field}.target: the agent {agent_id} has no address that could ring (PUT"
                f" /v1.0/agents/{agent_id}/addresses)"
            )
        linear = agent.ring_method == RingMethod.LINEAR
        return Phones(RingMethod.LINEAR if linear else RingMethod.RING_ALL, phones)


def _number(address: Address, field: str) -> str:
    """A number to call, E.164. Who calls for help must not wait for a call that nobody can place."""
    if is_emergency(address.target, _PLAN):
        message = (
            f"{field}.target: {address.target.strip()!r} is an emergency number: calls for help are not placed from"
            " here; dial it on a telephone that reaches it"
        )
        raise InvalidArgument(
            message,
            reason="EMERGENCY_NUMBER_REFUSED",
            details=[{"field": f"{field}.target", "message": message}],
        )
    return e164.check(address.target, f"{field}.target")


def _sip_target(address: Address, field: str) -> target.SipTarget:
    try:
        return target.parse(address.target)
    except ValueError as error:
        message = f"{field}.target: {address.target[:80]!r} is not a SIP address that can be called: {error}"
        raise InvalidArgument(message, details=[{"field": f"{field}.target", "message": message}]) from None


def _extension_name(address: Address, field: str) -> tuple[str, str]:
    """Name and realm of an extension; the realm is ``""`` where only the name is given."""
    name, _, realm = address.target.partition("@")
    if (
        not _EXTENSION.fullmatch(name)
        or (realm and not _REALM.fullmatch(realm))
        or address.target.endswith("@")
    ):
        message = (
            f"{field}.target: {address.target[:80]!r} is not an extension: its name (test11), its name and realm"
            " (test11@test) or its id"
        )
        raise InvalidArgument(message, details=[{"field": f"{field}.target", "message": message}])
    return name, realm.lower()


def _uuid(address: Address, field: str) -> UUID:
    found = _as_uuid(address.target)
    if found is None:
        message = f"{field}.target: {address.target[:80]!r} is not the id of an {address.type} (a UUID)"
        raise InvalidArgument(message, details=[{"field": f"{field}.target", "message": message}])
    return found


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
