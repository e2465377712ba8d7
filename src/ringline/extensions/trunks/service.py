"""What may happen to trunks: checked, kept without their password, in force at the edge at once."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4, uuid5

import structlog
from sqlalchemy import Row, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import tiers
from ringline.errors import AlreadyExists, InvalidArgument, NotFound
from ringline.extensions.digest import ha1, password_problem
from ringline.extensions.edge import Edge
from ringline.extensions.realm import trunk_realm
from ringline.extensions.store import trunks
from ringline.extensions.trunk_directory import TrunkDirectory
from ringline.extensions.trunks.addresses import TrunkAddresses
from ringline.extensions.trunks.models import TrunkChange, TrunkCreate
from ringline.http import PageQuery, page_statement, utc_now
from ringline.storage import Database
from ringline.storage.rows import change, live, one

log = structlog.get_logger(__name__)
_TIER = tiers.Tier("trunks", trunks, "Delete one (DELETE /v1.0/trunks/{id})")


class TrunkNotFound(NotFound):
    """404: no such trunk."""

    default_reason = "TRUNK_NOT_FOUND"


class TrunkService:
    """A customer's trunks."""

    def __init__(
        self,
        database: Database,
        directory: TrunkDirectory,
        edge: Edge,
        addresses: TrunkAddresses,
        *,
        sip_domain: str,
    ) -> None:
        self._database = database
        self._directory = directory
        self._edge = edge
        self._addresses = addresses
        self._sip_domain = sip_domain

    async def page(self, customer_id: UUID, query: PageQuery) -> list[Row[Any]]:
        async with self._database.connect() as connection:
            statement = page_statement(live(trunks, customer_id), trunks, query)
            return list((await connection.execute(statement)).all())

    async def get(self, customer_id: UUID, trunk_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            return _found(await one(connection, trunks, customer_id, trunk_id))

    async def create(self, customer_id: UUID, wanted: TrunkCreate, seed: UUID | None = None) -> Row[Any]:
        """A new trunk. Raises ``InvalidArgument``, ``AlreadyExists``, ``LimitReached``.

        ``seed`` is that of an ``Idempotency-Key``: a repetition finds the trunk of the first request.
        """
        row_id = uuid4() if seed is None else uuid5(seed, "trunk")
        try:
            async with self._database.begin() as connection:
                if seed is not None and (made := await one(connection, trunks, customer_id, row_id)):
                    return made
                await tiers.check(connection, customer_id, _TIER)
                values = {
                    **wanted.model_dump(exclude={"password"}),
                    **await self._proof(connection, wanted, None),
                    "id": row_id,
                    "customer_id": customer_id,
                    "tm_create": utc_now(),
                }
                row: Row[Any] = (
                    await connection.execute(insert(trunks).values(**values).returning(trunks))
                ).one()
        except IntegrityError as error:
            raise _taken(error, wanted.domain_name) from error
        await self._tell(row)
        log.info("trunk_created", customer_id=str(customer_id), trunk_id=str(row.id), realm=row.realm)
        return row

    async def update(self, customer_id: UUID, trunk_id: UUID, wanted: TrunkChange) -> Row[Any]:
        """Change what ``wanted`` names and leave the rest. Raises as ``create`` does."""
        values = wanted.model_dump(include=wanted.model_fields_set - {"password"})
        try:
            async with self._database.begin() as connection:
                # taken before it is read: what follows from its fields must follow from the last ones
                touched = await change(connection, trunks, customer_id, trunk_id, {"tm_update": utc_now()})
                values |= await self._proof(connection, wanted, _found(touched))
                row = _found(await change(connection, trunks, customer_id, trunk_id, values))
        except IntegrityError as error:
            raise _taken(error, wanted.domain_name) from error
        await self._tell(row)
        log.info("trunk_changed", customer_id=str(customer_id), trunk_id=str(trunk_id), fields=sorted(values))
        return row

    async def delete(self, customer_id: UUID, trunk_id: UUID) -> Row[Any]:
        """Delete a trunk: its calls are refused. Those that last go on."""
        now = utc_now()
        values = {"tm_update": now, "tm_delete": now}
        async with self._database.begin() as connection:
            row = _found(await change(connection, trunks, customer_id, trunk_id, values))
        await self._tell(row)
        log.info("trunk_deleted", customer_id=str(customer_id), trunk_id=str(trunk_id))
        return row

    async def _tell(self, row: Row[Any]) -> None:
        """Here first: a call that Kamailio lets through must find its trunk."""
        await self._directory.refresh(row.id)
        await self._edge.tell(reload=True)

    async def _proof(
        self, connection: AsyncConnection, wanted: TrunkCreate | TrunkChange, row: Row[Any] | None
    ) -> dict[str, Any]:
        """How the trunk proves itself after the change: realm, types, user name, digest and addresses that agree."""
        given = wanted.model_fields_set

        def settled(field: str) -> Any:
            return getattr(wanted, field) if row is None or field in given else getattr(row, field)

        types, domain_name = settled("auth_types"), settled("domain_name")
        realm = trunk_realm(domain_name, self._sip_domain)
        username = digest = ""
        if "basic" in types:
            username = settled("username")
            digest = _digest(username, realm, wanted, row)
        elif ("username" in given and wanted.username) or wanted.password is not None:
            field = "password" if wanted.password is not None else "username"
            raise _refused(field, "is for the auth type `basic` only, which `auth_types` does not name")
        addresses: list[str] = []
        if "ip" in types:
            addresses = settled("allowed_ips")
            if not addresses:
                raise _refused("allowed_ips", "is required for the auth type `ip`")
            if "allowed_ips" in given:
                await self._check_addresses(connection, addresses)
        elif "allowed_ips" in given and wanted.allowed_ips:
            raise _refused("allowed_ips", "is for the auth type `ip` only, which `auth_types` does not name")
        return {
            "domain_name": domain_name,
            "realm": realm,
            "auth_types": types,
            "username": username,
            "ha1": digest,
            "allowed_ips": addresses,
        }

    async def _check_addresses(self, connection: AsyncConnection, addresses: list[str]) -> None:
        for index, address in enumerate(addresses):
            if problem := await self._addresses.problem(connection, address):
                raise _refused(f"allowed_ips[{index}]", f"cannot be used: {problem}")


def _digest(username: str, realm: str, wanted: TrunkCreate | TrunkChange, row: Row[Any] | None) -> str:
    if not username:
        raise _refused("username", "is required for the auth type `basic`")
    if wanted.password is not None:
        password = wanted.password.get_secret_value()
        if problem := password_problem(password, username):
            raise _refused("password", problem)
        return ha1(username, realm, password)
    if row is None or not row.ha1:
        raise _refused("password", "is required for the auth type `basic`")
    if (row.username, row.realm) != (username, realm):
        raise _refused(
            "password", "is required with a new `username` or `domain_name`: the old one is bound to them"
        )
    return str(row.ha1)


def _refused(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(f"`{field}` {message}.", details=[{"field": field, "message": message}])


def _taken(error: IntegrityError, domain_name: str) -> Exception:
    if "uq_trunks_domain_name" not in str(error.orig):
        return error
    message = f"{domain_name!r} is taken; choose another one"
    return AlreadyExists(f"`domain_name`: {message}.", details=[{"field": "domain_name", "message": message}])


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise TrunkNotFound("There is no such trunk; GET /v1.0/trunks lists yours.")
    return row
