"""Customers, agents and access keys in memory, so that proving who asks reads no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ringline.customers.tables import accesskeys, agents, customers
from ringline.sip.address import Address
from ringline.storage import Database, Mirror


@dataclass(frozen=True, slots=True)
class Customer:
    """What calls and requests need to know of a customer."""

    id: UUID
    name: str
    status: str
    domain_label: str
    default_outgoing_source_number_id: UUID | None
    webhook_method: str
    webhook_uri: str
    country: str = ""
    digest_realm: str = ""
    billing_account_id: UUID | None = None
    frozen_by: str = ""
    tm_deletion_scheduled: datetime | None = None
    identity_verification_status: str = "none"


@dataclass(frozen=True, slots=True)
class Agent:
    """A person who can log in, and whose ``addresses`` ring.

    ``ring_method``: ``ringall`` rings all addresses at once, ``linear`` one after another. ``status`` is the one
    that was chosen (``""``, ``available``, ``away``, ``busy``, ``offline``); who rings or talks is known to
    ``customers.Presence``.
    """

    id: UUID
    customer_id: UUID
    username: str
    permission: int
    name: str = ""
    ring_method: str = "ringall"
    status: str = ""
    addresses: tuple[Address, ...] = ()
    tag_ids: frozenset[UUID] = frozenset()
    password_version: int = 0


@dataclass(frozen=True, slots=True)
class Accesskey:
    """A program's credential; ``token_hash`` is the SHA-256 of the token."""

    id: UUID
    customer_id: UUID
    token_hash: bytes
    tm_expire: datetime | None


class CustomerDirectory(Mirror[Customer]):
    """All customers that were not deleted."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, customers, _customer, key=lambda customer: customer.domain_label)

    def by_label(self, label: str) -> Customer | None:
        """The customer of a SIP domain label such as ``test``."""
        return self.by_key(label.lower())


class AgentDirectory(Mirror[Agent]):
    """All agents that were not deleted."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, agents, _agent)


class AccesskeyDirectory(Mirror[Accesskey]):
    """All access keys that were not deleted, expired ones among them."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, accesskeys, _accesskey, key=lambda accesskey: accesskey.token_hash)

    def by_hash(self, token_hash: bytes) -> Accesskey | None:
        """The key whose token has this SHA-256."""
        return self.by_key(token_hash)


def _customer(row: Any) -> Customer:
    return Customer(
        id=row.id,
        name=row.name,
        status=row.status,
        domain_label=row.domain_label,
        default_outgoing_source_number_id=row.default_outgoing_source_number_id,
        webhook_method=row.webhook_method,
        webhook_uri=row.webhook_uri,
        country=row.country,
        digest_realm=row.digest_realm,
        billing_account_id=row.billing_account_id,
        frozen_by=row.frozen_by,
        tm_deletion_scheduled=row.tm_deletion_scheduled,
        identity_verification_status=row.identity_verification_status,
    )


def _agent(row: Any) -> Agent:
    return Agent(
        id=row.id,
        customer_id=row.customer_id,
        username=row.username,
        permission=row.permission,
        name=row.name,
        ring_method=row.ring_method or "ringall",
        status=row.status,
        addresses=tuple(Address.model_validate(address) for address in row.addresses),
        tag_ids=frozenset(UUID(tag_id) for tag_id in row.tag_ids),
        password_version=row.password_version,
    )


def _accesskey(row: Any) -> Accesskey:
    return Accesskey(row.id, row.customer_id, bytes(row.token_hash), row.tm_expire)
