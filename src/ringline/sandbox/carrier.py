"""The carrier itself: one SIP socket, one pool of RTP ports, the calls that are up, and how all of it stops."""

from __future__ import annotations

import asyncio
import secrets

import structlog

from ringline.sandbox.audio.pacer import Pacer
from ringline.sandbox.audio.ports import Ports
from ringline.sandbox.audio.session import Session
from ringline.sandbox.config import CarrierSettings
from ringline.sandbox.dial import Dial, DialRequest
from ringline.sandbox.inbound import InboundCall
from ringline.sandbox.journal import Journal, Record, now
from ringline.sandbox.retention import keep_pruned
from ringline.sandbox.ua.address import Malformed
from ringline.sandbox.ua.agent import Agent
from ringline.sandbox.ua.leg import IncomingLeg
from ringline.sandbox.ua.message import Request
from ringline.sandbox.ua.transactions import ServerTransaction

log = structlog.get_logger(__name__)

GOODBYE_SECONDS = 1.0


class Carrier:
    """Start it once, close it once."""

    def __init__(self, settings: CarrierSettings) -> None:
        self.settings = settings
        self.journal = Journal(settings.journal, settings.journal_bytes)
        self.ports = Ports(settings.rtp_start, settings.rtp_end)
        self.agent = Agent(
            str(settings.sip_host), settings.sip_port, settings.allowed_networks, self._on_invite
        )
        self._pacer = Pacer()
        self._calls: set[asyncio.Task[None]] = set()
        self._dials = 0
        self._pruning: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def calls(self) -> int:
        """How many calls to the carrier are up or ringing."""
        return len(self._calls)

    async def start(self) -> None:
        """Make the folders and bind the SIP socket; ``OSError`` where either is impossible."""
        self.settings.recordings.mkdir(parents=True, exist_ok=True)
        await self.agent.start()
        self._pruning = asyncio.create_task(
            keep_pruned(
                self.settings.recordings,
                max_age=self.settings.recording_days * 86400,
                max_bytes=self.settings.recording_bytes,
            )
        )
        log.info(
            "carrier_started",
            sip=f"{self.settings.sip_host}:{self.settings.sip_port}",
            ports=self.ports.total,
        )

    async def close(self) -> None:
        """Hang up every call, write its line, and let go of the sockets. About a second at most."""
        self._closing = True
        for task in list(self._calls):
            task.cancel()
        if self._calls:
            _, late = await asyncio.wait(list(self._calls), timeout=GOODBYE_SECONDS)
            if late:
                log.error("carrier_calls_did_not_end", count=len(late))
            await asyncio.sleep(0.2)  # the answers to our BYEs
        if self._pruning is not None:
            self._pruning.cancel()
            await asyncio.wait([self._pruning], timeout=GOODBYE_SECONDS)
        self._pacer.close()
        self.agent.close()
        log.info("carrier_stopped")

    def session(self) -> Session:
        """A new audio session, not open yet."""
        return Session(str(self.settings.sip_host), self.ports, self._pacer, silence=self.settings.silence)

    def dial(self, request: DialRequest) -> Dial:
        """An outgoing call; nothing happens before its events are read."""
        return Dial(request, self.agent, self.session(), self.settings)

    def _on_invite(self, request: Request, transaction: ServerTransaction) -> None:
        record = Record.of(request)
        if self._closing:
            self._refuse(request, transaction, record, 503, "Shutting Down")
            return
        session = self.session()
        try:
            leg = IncomingLeg(self.agent, session, request, transaction)
        except Malformed as error:
            self._refuse(request, transaction, record, 400, str(error)[:60])
            return
        task = asyncio.create_task(self._run(InboundCall(leg, record, self.settings)))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _run(self, call: InboundCall) -> None:
        try:
            await call.run()
        except asyncio.CancelledError:
            if not self._closing:
                raise
        except Exception:
            log.exception("carrier_call_failed", sip_call_id=call.record.sip_call_id)
        finally:
            self.journal.append(call.record)

    def _refuse(
        self, request: Request, transaction: ServerTransaction, record: Record, status: int, reason: str
    ) -> None:
        transaction.respond(request.response(status, reason, tag=secrets.token_hex(6)))
        record.tm_end = now()
        self.journal.append(record)
