"""Telephones of the tests that register and authenticate (RFC 3261 section 22), on top of ``sip.Phone``."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import sqlalchemy as sa

from ringline.extensions.seed import ha1
from ringline.extensions.store import trunks
from ringline.storage import Database
from tests.stack.product import eventually
from tests.stack.sip import CRLF, SDP, WITHIN, Behaviour, Dialog, Message, Phone, dialog, new_branch

if TYPE_CHECKING:
    from tests.stack.conftest import Api


@dataclass
class Account:
    """An extension (or a trunk) and its password."""

    id: UUID
    customer_id: UUID
    user: str
    domain: str
    password: str
    realm: str = ""


@dataclass
class Credentials:
    """Answers challenges."""

    user: str
    password: str
    nonce: str = ""
    realm: str = ""
    count: int = 0
    stale: bool = False
    qop: bool = True

    def challenged(self, answer: Message) -> None:
        header = answer.one("www-authenticate") or answer.one("proxy-authenticate")
        self.nonce, self.realm = (_parameter(header, name) for name in ("nonce", "realm"))
        self.stale = "stale=true" in header.lower()
        self.count = 0

    def header(self, method: str, uri: str, name: str, count: int | None = None) -> str:
        """``Authorization`` or ``Proxy-Authorization``, with the next count, or a given one."""
        self.count = self.count + 1 if count is None else count
        secret = ha1(self.user, self.realm, self.password)
        action = hashlib.md5(f"{method}:{uri}".encode(), usedforsecurity=False).hexdigest()
        parts = [self.nonce, f"{self.count:08x}", "c0ffee", "auth"] if self.qop else [self.nonce]
        response = hashlib.md5(":".join([secret, *parts, action]).encode(), usedforsecurity=False).hexdigest()
        more = f', qop=auth, nc={self.count:08x}, cnonce="c0ffee"' if self.qop else ""
        return (
            f'{name}: Digest username="{self.user}", realm="{self.realm}", nonce="{self.nonce}", uri="{uri}",'
            f' response="{response}", algorithm=MD5{more}'
        )


@dataclass
class Line:
    """One account on one telephone: registers, calls, and answers what the proxy asks."""

    phone: Phone
    account: Account
    port: int
    credentials: Credentials = field(init=False)
    call_id: str = field(default_factory=lambda: secrets.token_hex(8))
    contact: str = ""
    cseq: int = 0

    def __post_init__(self) -> None:
        self.credentials = Credentials(self.account.user, self.account.password)
        host, port = self.phone.address[:2]
        self.contact = self.contact or f"<sip:{self.account.user}@{host}:{port}>"

    def register_text(
        self, *extra: str, expires: int | None = 600, contact: str = "", authorization: str = ""
    ) -> str:
        self.cseq += 1
        account = self.account
        host, port = self.phone.address[:2]
        lines = [
            f"REGISTER sip:{account.domain} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};rport;branch={new_branch()}",
            f"From: <sip:{account.user}@{account.domain}>;tag={secrets.token_hex(4)}",
            f"To: <sip:{account.user}@{account.domain}>",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} REGISTER",
            "Max-Forwards: 70",
            f"Contact: {contact or self.contact}",
            *(() if expires is None else (f"Expires: {expires}",)),
            *((authorization,) if authorization else ()),
            *extra,
            "Content-Length: 0",
        ]
        return CRLF.join([*lines, "", ""])

    def authorization(self, count: int | None = None) -> str:
        return self.credentials.header("REGISTER", f"sip:{self.account.domain}", "Authorization", count)

    async def send_register(self, text: str, within: float = WITHIN) -> Message:
        """The answer to exactly this REGISTER."""
        self.phone.send(text, self.port)
        cseq = f"{self.cseq} REGISTER"
        return await self.phone.wait(
            lambda m: m.status >= 200 and m.one("call-id") == self.call_id and m.one("cseq") == cseq, within
        )

    async def register(self, *extra: str, expires: int | None = 600, contact: str = "") -> Message:
        """Register, answering a challenge; the final answer."""
        answer = await self.send_register(self.register_text(*extra, expires=expires, contact=contact))
        if answer.status == 401:
            self.credentials.challenged(answer)
            answer = await self.send_register(
                self.register_text(
                    *extra, expires=expires, contact=contact, authorization=self.authorization()
                )
            )
        return answer

    async def invite(
        self, number: str, *extra: str, body: str = SDP, host: str = "", user: str = ""
    ) -> Dialog:
        """Dial, answering the proxy's challenge. The dialog's INVITE is then with Asterisk."""
        account = self.account
        begun = dialog(
            self.phone,
            f"sip:{number}@{host or account.domain}",
            f"<sip:{user or account.user}@{account.domain}>",
        )
        self.phone.send(begun.text("INVITE", *extra, body=body), self.port)
        answer = await self.phone.final(begun.call_id)
        if answer.status != 407:
            return begun
        self.credentials.challenged(answer)
        self.phone.send(Dialog(**{**begun.__dict__, "to": answer.one("to")}).text("ACK"), self.port)
        self.phone.received.remove(answer)
        begun.next()
        header = self.credentials.header("INVITE", begun.uri, "Proxy-Authorization")
        self.phone.send(begun.text("INVITE", header, *extra, body=body), self.port)
        return begun


async def add_extension(
    database: Database, user: str, *, label: str, sip_domain: str, password: str = "", digest_realm: str = ""
) -> Account:
    """An extension in the database, of the customer with this label, who is made where there is none."""
    domain = f"{label}.{sip_domain}"
    realm = digest_realm or domain
    account = Account(uuid4(), uuid4(), user, domain, password or secrets.token_urlsafe(12), realm)
    async with database.begin() as connection:
        found = await connection.scalar(
            sa.text("SELECT id FROM customers WHERE domain_label = :label AND tm_delete IS NULL"),
            {"label": label},
        )
        if found is None:
            await connection.execute(
                sa.text(
                    "INSERT INTO customers (id, name, domain_label, digest_realm, status, tm_create)"
                    " VALUES (:id, :label, :label, :realm, 'active', now())"
                ),
                {"id": account.customer_id, "label": label, "realm": digest_realm},
            )
        else:
            account.customer_id = found
        await connection.execute(
            sa.text(
                "INSERT INTO extensions (id, customer_id, name, extension, domain_name, username, ha1, tm_create)"
                " VALUES (:id, :customer, :user, :user, :domain, :user, :ha1, now())"
            ),
            {
                "id": account.id,
                "customer": account.customer_id,
                "user": user,
                "domain": domain,
                "ha1": ha1(user, realm, account.password),
            },
        )
    return account


def _parameter(header: str, name: str) -> str:
    found = re.search(rf'\b{name}="([^"]*)"', header)
    assert found is not None, header
    return found[1]


class StreamPhone(Phone):
    """A telephone that speaks over one TCP connection to the edge."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        super().__init__(behaviour)
        self._reader: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    @classmethod
    async def connect(cls, port: int, behaviour: Behaviour | None = None) -> StreamPhone:
        phone = cls(behaviour)
        reader, phone._writer = await asyncio.open_connection("127.0.0.1", port)
        phone.address = phone._writer.get_extra_info("sockname")
        phone._reader = asyncio.create_task(phone._read(reader))
        return phone

    def close(self) -> None:
        if self._reader is not None and self._writer is not None:
            self._reader.cancel()
            self._writer.close()

    def send(self, text: str, port: int, host: str = "127.0.0.1") -> None:
        assert self._writer is not None
        self._writer.write(
            text.replace("SIP/2.0/UDP", "SIP/2.0/TCP", 1 if " SIP/2.0" in text[:99] else 0).encode()
        )

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lstrip(b"\r\n")
                length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                self.datagram_received(head + body, ("127.0.0.1", 0))


async def add_trunk(
    database: Database,
    name: str,
    customer_id: UUID,
    *,
    sip_domain: str,
    address: str = "",
    password: str = "",
) -> Account:
    """A trunk of a customer that is known by its address or a password, or both."""
    realm = f"{name}.trunk.{sip_domain}"
    account = Account(uuid4(), customer_id, name, realm, password, realm)
    kinds = [*(["ip"] if address else []), *(["basic"] if password else [])]
    async with database.begin() as connection:
        await connection.execute(
            trunks.insert().values(
                id=account.id,
                customer_id=customer_id,
                domain_name=name,
                realm=realm,
                auth_types=kinds,
                allowed_ips=[address] if address else [],
                username=name if password else "",
                ha1=ha1(name, realm, password) if password else "",
                tm_create=datetime.now(UTC),
            )
        )
    return account


async def forget(api: Api, extension: str) -> None:
    """No telephone is registered with this extension of the first customer, whatever earlier tests have left."""
    (row,) = (await api.get("/v1.0/extensions", extension=extension))["result"]
    path = f"/v1.0/extensions/{row['id']}/registrations"
    for one in (await api.get(path))["result"]:
        await api.call("DELETE", f"{path}/{one['id']}")

    async def gone() -> bool:
        return not (await api.get(path))["result"]

    await eventually(gone, f"nobody is registered with {extension}")
