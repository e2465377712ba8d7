"""Carriers of the tests: they answer OPTIONS or not, ask for a password, take registrations, speak TLS."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.stack.sip import Behaviour, Message, Phone


def checked(behaviour: Behaviour, status: int | Callable[[], int] = 200) -> Behaviour:
    """``behaviour``, and each OPTIONS is answered with ``status``; 0 is silence."""

    def behave(phone: Phone, request: Message) -> None:
        if request.method != "OPTIONS":
            behaviour(phone, request)
            return
        said = status if isinstance(status, int) else status()
        if said:
            phone.answer(request, said)

    return behave


class Challenger:
    """A carrier that wants username and password for everything but OPTIONS, ACK and CANCEL.

    It is strict: what is sent again under the same CSeq while its first try is remembered is refused with 482
    (RFC 3261 section 8.2.2.2), and within a dialog CSeq may only rise.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        username: str,
        password: str,
        realm: str,
        proxy: bool = True,
        qop: bool = True,
        expires: int = 60,
        within: bool = False,
    ) -> None:
        """``within``: also for each request within a dialog."""
        self._within = within
        self._behaviour = behaviour
        self._username, self._password, self._realm = username, password, realm
        self._code, name = (407, "Proxy") if proxy else (401, "WWW")
        self._name = f"{name}-Authenticate"
        self._header = "proxy-authorization" if proxy else "authorization"
        self._qop = qop
        self._nonce = secrets.token_hex(8)
        self._expires = expires
        self._counts: dict[str, int] = {}
        self.authorised: list[Message] = []
        self.refused: list[Message] = []

    def __call__(self, phone: Phone, request: Message) -> None:
        if request.method in ("ACK", "CANCEL"):
            self._behaviour(phone, request)
            return
        if request.method == "OPTIONS":
            phone.answer(request, 200)
            return
        call_id, count = request.one("call-id"), int(request.one("cseq").split()[0])
        if count <= self._counts.get(call_id, -1):
            phone.answer(request, 482, "Loop Detected")
            return
        self._counts[call_id] = count
        if ";tag=" in request.one("to") and request.method != "REGISTER" and not self._within:
            self._behaviour(phone, request)
            return
        said = request.one(self._header)
        if not said:
            self._challenge(phone, request)
        elif not self._right(request, said):
            self.refused.append(request)
            self._challenge(phone, request)
        else:
            self.authorised.append(request)
            if request.method == "REGISTER":
                contact = request.one("contact")
                phone.answer(
                    request,
                    200,
                    "OK",
                    f"Contact: {contact};expires={self._expires}",
                    f"Expires: {self._expires}",
                )
            else:
                self._behaviour(phone, request)

    def _challenge(self, phone: Phone, request: Message) -> None:
        qop = ', qop="auth"' if self._qop else ""
        challenge = f'Digest realm="{self._realm}", nonce="{self._nonce}", algorithm=MD5{qop}'
        phone.answer(request, self._code, "Who are you", f"{self._name}: {challenge}")

    def _right(self, request: Message, said: str) -> bool:
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', said.partition(" ")[2]))
        if (given.get("username"), given.get("realm"), given.get("nonce")) != (
            self._username,
            self._realm,
            self._nonce,
        ):
            return False
        secret = _md5(f"{self._username}:{self._realm}:{self._password}")
        action = _md5(f"{request.method}:{given['uri']}")
        between = f"{self._nonce}:{given['nc']}:{given['cnonce']}:auth" if "qop" in given else self._nonce
        return given.get("response") == _md5(f"{secret}:{between}:{action}")


class TlsCarrier(Phone):
    """A carrier that takes TLS connections and answers on the connection that a request came from."""

    def __init__(self, behaviour: Behaviour | None) -> None:
        super().__init__(behaviour)
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None

    @classmethod
    async def listen(cls, folder: Path, behaviour: Behaviour | None) -> TlsCarrier:
        """``folder`` takes the key and the certificate that are made for it."""
        await asyncio.to_thread(
            subprocess.run,
            [
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                ),
                *("-subj", "/CN=carrier.test", "-days", "2"),
                *("-keyout", folder / "key.pem", "-out", folder / "certificate.pem"),
            ],
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        carrier = cls(behaviour)
        carrier._server = await asyncio.start_server(carrier._serve, "127.0.0.1", 0, ssl=context)
        carrier.address = carrier._server.sockets[0].getsockname()
        return carrier

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        if self._server is not None:
            self._server.close()

    def answer(
        self, request: Message, status: int, reason: str = "Whatever", *extra: str, body: str = ""
    ) -> None:
        contact = f"Contact: <sip:127.0.0.1:{self.address[1]};transport=tls>"
        super().answer(request, status, reason, contact, *extra, body=body)

    def send(self, text: str, port: int, host: str = "127.0.0.1") -> None:
        self._writers[port].write(text.encode())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = writer.get_extra_info("peername")
        self._writers[source[1]] = writer
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?im)^(?:content-length|l):\s*(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if head.strip():
                    self.datagram_received(head.lstrip() + body, source)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            del self._writers[source[1]]
            writer.close()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
