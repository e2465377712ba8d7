"""One WebSocket to Asterisk: no task, no queue; messages arrive by callback and leave by a plain call.

The protocol is the ``websockets`` package's sans-I/O client (RFC 6455). Its asyncio connection would cost a
wake-up of a task per message and could send only from a coroutine; here a request is on its way when the
call returns, which is what keeps requests in the order in which they were made.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

import structlog
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidState, InvalidStatus, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from .errors import AriError, ConnectionLost, Unauthorized, error_for
from .frames import FrameCutter

log = structlog.get_logger(__name__)

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes in one message. A list of ten thousand channels is some 8 MB."""

MAX_HANDSHAKE = 64 * 1024

CLOSE_TIMEOUT = 1.0
"""Seconds that the other side gets to finish a closing handshake."""

OnMessage = Callable[[bytes], None]
OnLost = Callable[[str], None]


class Connection(asyncio.Protocol):
    """An open WebSocket. ``on_message`` gets each text message whole; ``on_lost`` is called once, with the
    reason."""

    def __init__(self, url: str, authorization: str, on_message: OnMessage, on_lost: OnLost) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._on_lost = on_lost
        self._protocol = ClientProtocol(
            parse_uri(url), subprotocols=[Subprotocol("ari")], max_size=MAX_MESSAGE, extensions=None
        )
        self._authorization = authorization
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._fragments: list[bytes] = []
        self._cutter = FrameCutter(MAX_MESSAGE)
        self._answer = b""
        self._flush_scheduled = False
        self._reason = ""
        self._lost = False
        self._farewell = False
        self.last_received = self._loop.time()
        self.ping_sent: float | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        authorization: str,
        on_message: OnMessage,
        on_lost: OnLost,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> Connection:
        """Connect and shake hands. The caller sets the time limit.

        Raises ``ConnectionLost`` when nobody answers, ``Unauthorized`` and other ``AriError`` when Asterisk
        refuses.
        """
        loop = asyncio.get_running_loop()
        connection = cls(url, authorization, on_message, on_lost)
        uri = parse_uri(url)
        try:
            await loop.create_connection(
                lambda: connection, uri.host, uri.port, ssl=(tls or True) if uri.secure else None
            )
            await connection._opened
        except OSError as error:
            raise ConnectionLost(f"cannot connect to {uri.host}:{uri.port}: {error}") from error
        except BaseException:
            connection.abort("connecting was given up")
            raise
        return connection

    @property
    def is_open(self) -> bool:
        return not self._lost and self._opened.done() and not self._reason

    # -- sending -----------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Send a text message. Messages of one turn of the event loop leave in one write."""
        try:
            self._protocol.send_text(message)
        except InvalidState as error:
            raise ConnectionLost(self._reason or "the connection is closing") from error
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def ping(self) -> None:
        """Ask for a sign of life; ``last_received`` moves when it, or anything else, arrives."""
        try:
            self._protocol.send_ping(b"")
        except InvalidState:
            return
        self.ping_sent = self._loop.time()
        self._flush()

    def close(self, reason: str) -> None:
        """Close in good order; the transport goes after ``CLOSE_TIMEOUT`` at the latest."""
        if self._lost or self._transport is None:
            return
        self._reason = self._reason or reason
        try:
            self._protocol.send_close(1000)
        except InvalidState:
            self._transport.abort()
            return
        self._flush()
        self._loop.call_later(CLOSE_TIMEOUT, self._transport.abort)

    def abort(self, reason: str) -> None:
        """Drop the connection now: the other side is silent or broken."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()
        self._finish()

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._transport is None or self._transport.is_closing():
            return
        chunks = self._protocol.data_to_send()
        if chunks:
            self._transport.write(b"".join(chunks))
            if not chunks[-1]:  # the sans-I/O sign for "no more from us"
                self._transport.close()

    # -- receiving (called by the event loop) ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # create_connection promises a Transport; uvloop's is one in deed but not by class
        self._transport = cast("asyncio.Transport", transport)
        request = self._protocol.connect()
        request.headers["Authorization"] = self._authorization
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self.last_received = self._loop.time()
        self.ping_sent = None
        if not self._opened.done():
            data = self._handshake(data)
        for is_text, content in self._cutter.feed(data):
            if is_text:
                self._deliver(content)
            else:
                self._parse(content)

    def _handshake(self, data: bytes) -> bytes:
        """Hands the answer to our request to the protocol; returns what follows it, which is frames."""
        self._answer += data
        head, separator, rest = self._answer.partition(b"\r\n\r\n")
        if not separator:
            if len(head) > MAX_HANDSHAKE:
                self.abort("the answer to the handshake does not end")
            return b""
        self._answer = b""
        self._parse(head + separator)
        if self._protocol.state is State.OPEN:
            return rest
        self._parse(rest)  # the body of a refusal
        return b""

    def _parse(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event)
            elif isinstance(event, Response):
                self._handshaken()
        if protocol.handshake_exc is not None:
            self._refused(protocol.handshake_exc)
        self._flush()
        if not self._farewell and protocol.close_expected():
            self._farewell = True
            self._loop.call_later(CLOSE_TIMEOUT, self._abort_transport)

    def _frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT and frame.fin:
            self._deliver(bytes(frame.data))
        elif opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                message = b"".join(self._fragments)
                self._fragments.clear()
                self._deliver(message)
        elif opcode is Opcode.CLOSE:
            close = self._protocol.close_rcvd
            code = f" ({close.code} {close.reason})".rstrip() if close else ""
            self._reason = self._reason or f"closed by Asterisk{code}"

    def _deliver(self, message: bytes) -> None:
        try:
            self._on_message(message)
        except Exception:
            # One bad message or handler must not take the connection down with it.
            log.exception("ari_message_failed", message=message[:500])

    def _handshaken(self) -> None:
        if self._protocol.handshake_exc is None and not self._opened.done():
            self._opened.set_result(None)

    def _refused(self, error: Exception) -> None:
        self._reason = self._reason or f"handshake failed: {error}"
        if not self._opened.done():
            self._opened.set_exception(_refusal(error))

    def eof_received(self) -> None:
        self._reason = self._reason or "closed by Asterisk without a farewell"
        self._protocol.receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._reason = self._reason or f"broken: {exc}"
        failure = self._protocol.parser_exc
        if isinstance(failure, ProtocolError):
            self._reason = f"protocol error: {failure}"
        self._finish()

    def _abort_transport(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _finish(self) -> None:
        if self._lost:
            return
        self._lost = True
        reason = self._reason = self._reason or "connection lost"
        if not self._opened.done():
            self._opened.set_exception(ConnectionLost(reason))
        self._opened.exception()  # retrieved: nobody may be waiting for it any more
        self._on_lost(reason)


def _refusal(error: Exception) -> AriError:
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status == 401:
            return Unauthorized("Asterisk refuses this ARI user name and password", status=status)
        return error_for(status, f"Asterisk refuses the WebSocket: {error.response.reason_phrase}")
    return ConnectionLost(f"not a WebSocket of Asterisk: {error}")
