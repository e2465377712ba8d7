"""What may happen to extensions: SIP accounts of phones, kept as digest secrets, in force at the edge at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID, uuid4, uuid5

import structlog
from sqlalchemy import Row, delete, exists, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.billing import tiers
from ringline.customers.tables import customers
from ringline.errors import AlreadyExists, InvalidArgument, NotFound
from ringline.extensions import contacts
from ringline.extensions.digest import ha1, password_problem
from ringline.extensions.directory import ExtensionDirectory
from ringline.extensions.edge import TABLE, Edge, Kamailio
from ringline.extensions.models import ExtensionChange, ExtensionCreate, ExtensionQuery, RegistrationAnswer
from ringline.extensions.realm import customer_realm
from ringline.extensions.store import extensions, locations
from ringline.http import page_statement, utc_now
from ringline.routing import KamailioRefused
from ringline.sip.destination import is_emergency
from ringline.storage import Database
from ringline.storage.rows import change, live, one

log = structlog.get_logger(__name__)
_TIER = tiers.Tier("extensions", extensions, "Delete one (DELETE /v1.0/extensions/{id})")


class ExtensionNotFound(NotFound):
    """404: no such extension."""

    default_reason = "EXTENSION_NOT_FOUND"


class RegistrationNotFound(NotFound):
    """404: no such registration (any more)."""

    default_reason = "REGISTRATION_NOT_FOUND"


class ExtensionService:
    """A customer's extensions, and the phones that are registered with them."""

    def __init__(
        self,
        database: Database,
        directory: ExtensionDirectory,
        edge: Edge,
        kamailio: Kamailio,
        *,
        sip_domain: str,
        country: Callable[[UUID], str],
    ) -> None:
        """``country``: a customer's id to its country, whose emergency numbers are no names of extensions."""
        self._database = database
        self._directory = directory
        self._edge = edge
        self._kamailio = kamailio
        self._sip_domain = sip_domain
        self._country = country

    async def page(self, customer_id: UUID, query: ExtensionQuery) -> list[Row[Any]]:
        wanted = live(extensions, customer_id)
        if query.extension is not None:
            wanted = wanted.where(extensions.c.extension == query.extension)
        async with self._database.connect() as connection:
            return list((await connection.execute(page_statement(wanted, extensions, query))).all())

    async def get(self, customer_id: UUID, extension_id: UUID) -> Row[Any]:
        async with self._database.connect() as connection:
            return _found(await one(connection, extensions, customer_id, extension_id))

    async def registered(self, rows: Iterable[Row[Any]]) -> dict[UUID, int]:
        """How many phones are registered with each of these extensions."""
        keys = {row.id: (row.domain_name, row.extension) for row in rows if row.tm_delete is None}
        async with self._database.connect() as connection:
            counts = await contacts.count(connection, list(keys.values()))
        return {row_id: counts.get(key, 0) for row_id, key in keys.items()}

    async def create(self, customer_id: UUID, wanted: ExtensionCreate, seed: UUID | None = None) -> Row[Any]:
        """A new extension in the customer's realm. Raises ``InvalidArgument``, ``AlreadyExists``, ``LimitReached``.

        ``seed`` is that of an ``Idempotency-Key``: a repetition finds the extension of the first request.
        """
        self._check_emergency(customer_id, wanted.extension)
        password = wanted.password.get_secret_value()
        _check_password(password, wanted.extension)
        row_id = uuid4() if seed is None else uuid5(seed, "extension")
        try:
            async with self._database.begin() as connection:
                if seed is not None and (made := await one(connection, extensions, customer_id, row_id)):
                    return made
                await tiers.check(connection, customer_id, _TIER)
                realm, digest_realm = await self._realms(connection, customer_id)
                first = not await _inhabited(connection, customer_id)
                values = {
                    **wanted.model_dump(exclude={"password"}),
                    "id": row_id,
                    "customer_id": customer_id,
                    "domain_name": realm,
                    "username": wanted.extension,
                    "ha1": ha1(wanted.extension, digest_realm, password),
                    "tm_create": utc_now(),
                }
                row: Row[Any] = (
                    await connection.execute(insert(extensions).values(**values).returning(extensions))
                ).one()
        except IntegrityError as error:
            if "uq_extensions_domain_name_extension" in str(error.orig):
                message = f"you have an extension {wanted.extension!r} already"
                raise AlreadyExists(
                    f"`extension`: {message}.", details=[{"field": "extension", "message": message}]
                ) from error
            raise
        await self._directory.refresh(row.id)
        # Kamailio knows realms that have somebody in them
        await self._edge.tell(reload=first)
        log.info(
            "extension_created",
            customer_id=str(customer_id),
            extension_id=str(row.id),
            extension=row.extension,
        )
        return row

    async def update(self, customer_id: UUID, extension_id: UUID, wanted: ExtensionChange) -> Row[Any]:
        """Change what ``wanted`` names and leave the rest. A new password ends all registrations."""
        values = wanted.model_dump(include=wanted.model_fields_set - {"extension", "password"})
        gone: list[str] = []
        async with self._database.begin() as connection:
            _, digest_realm = await self._realms(connection, customer_id)
            row = _found(await one(connection, extensions, customer_id, extension_id))
            if "extension" in wanted.model_fields_set and wanted.extension != row.extension:
                raise _refused(
                    "extension",
                    f"cannot be changed (it is {row.extension!r}): its password is bound to it; make another "
                    f"extension",
                )
            if wanted.password is not None:
                password = wanted.password.get_secret_value()
                _check_password(password, row.extension)
                values["ha1"] = ha1(row.username, digest_realm, password)
            values["tm_update"] = utc_now()
            row = _found(await change(connection, extensions, customer_id, extension_id, values))
            if "ha1" in values:
                gone = await contacts.forget(connection, row.domain_name, row.extension)
        await self._directory.refresh(extension_id)
        await self._edge.tell(gone=gone)
        if "ha1" in values:
            log.info(
                "extension_password_changed", customer_id=str(customer_id), extension_id=str(extension_id)
            )
        return row

    async def delete(self, customer_id: UUID, extension_id: UUID) -> Row[Any]:
        """Delete an extension: its phones are registered no more. Calls that last go on."""
        now = utc_now()
        values = {"tm_update": now, "tm_delete": now}
        async with self._database.begin() as connection:
            row = _found(await change(connection, extensions, customer_id, extension_id, values))
            gone = await contacts.forget(connection, row.domain_name, row.extension)
            last = not await _inhabited(connection, customer_id)
        await self._directory.refresh(extension_id)
        await self._edge.tell(reload=last, gone=gone)
        log.info("extension_deleted", customer_id=str(customer_id), extension_id=str(extension_id))
        return row

    async def registrations(self, customer_id: UUID, extension_id: UUID) -> list[RegistrationAnswer]:
        """The phones that are registered now."""
        async with self._database.connect() as connection:
            row = _found(await one(connection, extensions, customer_id, extension_id))
            found = await contacts.select(connection, row.domain_name, row.extension)
        return [contacts.shown(customer_id, extension_id, contact) for contact in found]

    async def unregister(
        self, customer_id: UUID, extension_id: UUID, registration_id: UUID
    ) -> RegistrationAnswer:
        """Forget one phone; it may register again. Raises ``Unavailable`` while Kamailio does not answer."""
        async with self._database.connect() as connection:
            row = _found(await one(connection, extensions, customer_id, extension_id))
            found = await contacts.select(connection, row.domain_name, row.extension)
        contact = contacts.find(found, extension_id, registration_id)
        if contact is None:
            raise RegistrationNotFound(
                f"There is no such registration; GET /v1.0/extensions/{extension_id}/registrations lists them."
            )
        try:
            name = contacts.aor(row.extension, row.domain_name)
            await self._kamailio.call("ul.rm_contact", TABLE, name, contact.contact)
        except KamailioRefused as error:
            # it may have forgotten it on its own: what is left then is the row
            log.info("registration_unknown_to_kamailio", error=error.message)
        async with self._database.begin() as connection:
            await connection.execute(delete(locations).where(locations.c.ruid == contact.ruid))
        log.info("registration_deleted", customer_id=str(customer_id), extension_id=str(extension_id))
        return contacts.shown(customer_id, extension_id, contact)

    async def _realms(self, connection: AsyncConnection, customer_id: UUID) -> tuple[str, str]:
        """The customer's realm, and the one that digests are made with; neither changes until the commit."""
        statement = (
            select(customers.c.domain_label, customers.c.digest_realm)
            .where(customers.c.id == customer_id, customers.c.tm_delete.is_(None))
            .with_for_update(read=True)
        )
        found = (await connection.execute(statement)).first()
        if found is None:
            raise NotFound("This customer does not exist any more.", reason="CUSTOMER_NOT_FOUND")
        realm = customer_realm(found.domain_label, self._sip_domain)
        return realm, found.digest_realm or realm

    def _check_emergency(self, customer_id: UUID, name: str) -> None:
        if is_emergency(name, self._country(customer_id)):
            raise _refused("extension", f"{name!r} is an emergency number; choose another one")


async def _inhabited(connection: AsyncConnection, customer_id: UUID) -> bool:
    return bool((await connection.execute(select(exists(live(extensions, customer_id))))).scalar())


def _check_password(password: str, name: str) -> None:
    if problem := password_problem(password, name):
        raise _refused("password", problem)


def _refused(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(f"`{field}` {message}.", details=[{"field": field, "message": message}])


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise ExtensionNotFound("There is no such extension; GET /v1.0/extensions lists yours.")
    return row
