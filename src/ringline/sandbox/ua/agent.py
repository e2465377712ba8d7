"""The SIP socket of the carrier: takes datagrams apart and gives them to transactions, dialogs and new calls."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol, cast

import structlog

from ringline.sandbox.ua import dialog as dialogs
from ringline.sandbox.ua.address import Malformed, NameAddr, Uri, Via
from ringline.sandbox.ua.message import Request, Response, parse
from ringline.sandbox.ua.transactions import (
    LIFETIME,
    ClientTransaction,
    Key,
    Peer,
    ServerTransaction,
    server_key,
)

log = structlog.get_logger(__name__)

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"
MAX_TRANSACTIONS = 50_000
RECEIVE_BUFFER = 4 * 1024 * 1024  # bursts of new calls wait here, not on the wire


class InDialog(Protocol):
    """Who takes the requests of an established dialog."""

    def on_request(self, request: Request, transaction: ServerTransaction) -> None:
        """A request other than ACK; the transaction expects a response."""

    def on_ack(self, request: Request) -> None:
        """The ACK of a 2xx."""


@dataclass(slots=True)
class Counters:
    """What the health page shows."""

    received: int = 0
    refused_source: int = 0
    malformed: int = 0


class Agent(asyncio.DatagramProtocol):
    """One UDP socket. ``on_invite`` receives each INVITE that begins a call, with its transaction.

    Datagrams from outside ``networks`` get no answer, and nothing is sent outside them.
    """

    def __init__(
        self,
        host: str,
        port: int,
        networks: tuple[IPv4Network, ...],
        on_invite: Callable[[Request, ServerTransaction], None],
    ) -> None:
        self.host = host
        self.port = port
        self.counters = Counters()
        self.dialogs: dict[dialogs.Key, InDialog] = {}
        self._networks = networks
        self._on_invite = on_invite
        self._transport: asyncio.DatagramTransport | None = None
        self._servers: dict[Key, ServerTransaction] = {}
        self._clients: dict[tuple[str, str], ClientTransaction] = {}

    @property
    def contact(self) -> str:
        """Our Contact header."""
        return f"<sip:carrier@{self.host}:{self.port}>"

    async def start(self) -> None:
        """Bind the socket; ``OSError`` where the port is taken."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.host, self.port))
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def close(self) -> None:
        """Close the socket and drop every timer."""
        for server in self._servers.values():
            server.close()
        for client in self._clients.values():
            client.close()
        self._servers.clear()
        self._clients.clear()
        if self._transport is not None:
            self._transport.close()

    def allowed(self, address: str) -> bool:
        """Whether an IPv4 literal lies in the networks we talk to."""
        try:
            parsed = IPv4Address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)

    # sending

    def send(self, data: bytes, peer: Peer) -> None:
        """One datagram, to an allowed address only."""
        if self._transport is None or self._transport.is_closing():
            return
        if not self.allowed(peer[0]):
            log.warning("carrier_send_refused", peer=peer[0])
            return
        self._transport.sendto(data, peer)

    def request(
        self, request: Request, peer: Peer, on_response: Callable[[Response], None] = lambda _: None
    ) -> ClientTransaction:
        """Start a client transaction; Via (with a fresh branch) is added here unless the request has one."""
        if not request.get("via"):
            request.headers.insert(0, ("via", self.via()))
        branch = Via.parse(request.all("via")[0]).branch
        transaction = ClientTransaction(self.send, request, peer, on_response)
        key = (branch, request.method)
        self._clients[key] = transaction
        transaction.start()
        # An INVITE may ring for long: it stays until its final response, others for one lifetime.
        if not transaction.is_invite:
            asyncio.get_running_loop().call_later(LIFETIME + 1, self._forget_client, key)
        return transaction

    def forget_invite(self, transaction: ClientTransaction) -> None:
        """Drop an INVITE's client transaction one lifetime after its end (late 2xx must find it until then)."""
        key = (Via.parse(transaction.request.all("via")[0]).branch, "INVITE")
        asyncio.get_running_loop().call_later(LIFETIME + 1, self._forget_client, key)

    def send_ack(self, request: Request, peer: Peer) -> None:
        """The ACK of a 2xx: a transaction of its own without a response."""
        if not request.get("via"):
            request.headers.insert(0, ("via", self.via()))
        self.send(request.to_bytes(), peer)

    def via(self) -> str:
        """A Via value with a new branch."""
        return f"SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bK{secrets.token_hex(10)};rport"

    def peer_of(self, uri: Uri) -> Peer:
        """Where a URI points; ``Malformed`` unless its host is an allowed IPv4 literal (we resolve no names)."""
        if not self.allowed(uri.host):
            raise Malformed(f"no address we talk to: {uri.host[:80]!r}")
        return uri.host, uri.port or 5060

    async def answers(self) -> bool:
        """Whether an OPTIONS to our own socket comes back: the way of every call, in and out."""
        result: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def heard(response: Response) -> None:
            if not result.done():
                result.set_result(response.status)

        request = Request(method="OPTIONS", uri=f"sip:{self.host}:{self.port}")
        request.add("max-forwards", "0")
        request.add("from", f"{self.contact};tag={secrets.token_hex(4)}")
        request.add("to", self.contact)
        request.add("call-id", secrets.token_hex(8))
        request.add("cseq", "1 OPTIONS")
        transaction = self.request(request, (self.host, self.port), heard)
        try:
            async with asyncio.timeout(1.0):
                return await result == 200
        except TimeoutError:
            return False
        finally:
            transaction.close()

    # receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def error_received(self, exc: Exception) -> None:
        log.debug("carrier_socket_error", error=str(exc))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.allowed(addr[0]):
            self.counters.refused_source += 1
            return
        self.counters.received += 1
        try:
            message = parse(data)
            if isinstance(message, Request):
                self._received_request(message, (addr[0], addr[1]))
            elif isinstance(message, Response):
                self._received_response(message)
        except Malformed as error:
            self.counters.malformed += 1
            log.info("carrier_malformed_message", error=str(error), peer=addr[0])
        except Exception:
            # One message must not take the other calls down with it.
            log.exception("carrier_message_failed", peer=addr[0])

    def _received_response(self, response: Response) -> None:
        branch = Via.parse(response.all("via")[0]).branch if response.get("via") else ""
        transaction = self._clients.get((branch, response.cseq[1]))
        if transaction is not None:
            transaction.received(response)

    def _received_request(self, request: Request, source: Peer) -> None:
        vias = request.all("via")
        if not vias:
            raise Malformed("request without Via")
        via = Via.parse(vias[0])
        peer = (source[0], source[1] if via.rport else via.port)
        self._mark_received(request, via, source)
        key = server_key(request, via.branch, (via.host, via.port))
        known = self._servers.get(key)
        if request.method == "ACK":
            self._acknowledge(request, known)
        elif request.method == "CANCEL":
            self._cancel(request, known, peer)
        elif known is not None:
            known.repeated()
        else:
            self._new_request(request, key, peer)

    def _mark_received(self, request: Request, via: Via, source: Peer) -> None:
        """Add ``received`` and ``rport`` to the topmost Via (RFC 3581 section 4)."""
        for index, (name, value) in enumerate(request.headers):
            if name == "via":
                first, comma, rest = value.partition(",")
                if via.rport:
                    bare = ";".join(
                        item for item in first.split(";") if item.strip().partition("=")[0] != "rport"
                    )
                    first = f"{bare};rport={source[1]};received={source[0]}"
                elif via.host != source[0]:
                    first = f"{first};received={source[0]}"
                request.headers[index] = (name, f"{first}{comma}{rest}")
                return

    def _acknowledge(self, request: Request, known: ServerTransaction | None) -> None:
        if known is not None:
            known.acknowledged()
            if known.status >= 300:
                return
        owner = self.dialogs.get(self._dialog_key(request))
        if owner is not None:
            owner.on_ack(request)

    def _cancel(self, request: Request, known: ServerTransaction | None, peer: Peer) -> None:
        reply = request.response(200 if known is not None else 481, tag=secrets.token_hex(6))
        self.send(reply.to_bytes(), peer)
        if known is not None and not known.final and known.on_cancel is not None:
            known.on_cancel()

    def _new_request(self, request: Request, key: Key, peer: Peer) -> None:
        transaction = ServerTransaction(self.send, request, peer)
        tag = secrets.token_hex(6)
        fault = self._fault(request)
        if len(self._servers) >= MAX_TRANSACTIONS:
            fault = (503, "Too Many Transactions")
        else:
            self._servers[key] = transaction
            asyncio.get_running_loop().call_later(LIFETIME + 1, self._expire_server, key)
        if fault is not None:
            reply = request.response(*fault, tag=tag)
            if reply.status == 420:
                reply.add("unsupported", ", ".join(request.all("require")))
            transaction.respond(reply)
        elif NameAddr.parse(request.get("to")).tag:
            owner = self.dialogs.get(self._dialog_key(request))
            if owner is None:
                transaction.respond(request.response(481))
            else:
                owner.on_request(request, transaction)
        elif request.method == "INVITE":
            self._on_invite(request, transaction)
        elif request.method == "OPTIONS":
            reply = request.response(200, tag=tag)
            reply.add("allow", ALLOW)
            reply.add("accept", "application/sdp")
            transaction.respond(reply)
        else:
            reply = request.response(481 if request.method in ("BYE", "UPDATE", "INFO") else 405, tag=tag)
            reply.add("allow", ALLOW)
            transaction.respond(reply)

    def _fault(self, request: Request) -> tuple[int, str] | None:
        """What is wrong with a request in itself, as (status, reason)."""
        for name in ("from", "to", "call-id", "cseq"):
            if not request.get(name):
                return 400, f"Missing {name}"
        if request.cseq[1] != request.method.upper():
            return 400, "CSeq method differs"
        if request.get("max-forwards", "70").strip() == "0" and request.method != "OPTIONS":
            return 483, ""
        if request.method == "INVITE" and request.all("require"):
            return 420, ""
        if not NameAddr.parse(request.get("from")).tag:
            return 400, "From without tag"
        return None

    def _dialog_key(self, request: Request) -> dialogs.Key:
        return request.get("call-id"), NameAddr.parse(request.get("to")).tag

    def _expire_server(self, key: Key) -> None:
        transaction = self._servers.get(key)
        if transaction is None:
            return
        remaining = transaction.remaining()
        if remaining > 0:
            asyncio.get_running_loop().call_later(remaining, self._expire_server, key)
            return
        transaction.close()
        del self._servers[key]

    def _forget_client(self, key: tuple[str, str]) -> None:
        transaction = self._clients.pop(key, None)
        if transaction is not None:
            transaction.close()
