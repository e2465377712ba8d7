"""One end of a call: its dialog, its audio session, and how it ends."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Literal

import structlog

from ringline.sandbox.audio.session import Session
from ringline.sandbox.ua import sdp
from ringline.sandbox.ua.address import Malformed, NameAddr
from ringline.sandbox.ua.agent import ALLOW, Agent
from ringline.sandbox.ua.dialog import Dialog, contact
from ringline.sandbox.ua.message import Request, Response
from ringline.sandbox.ua.transactions import Peer, ServerTransaction

log = structlog.get_logger(__name__)

_INFO_DIGITS = {str(number): digit for number, digit in enumerate("0123456789*#ABCD")}


@dataclass(frozen=True, slots=True)
class Ending:
    """Who ended a call (``failure``: nobody, the signalling broke) and with which SIP status (200: a BYE)."""

    by: Literal["remote", "local", "failure"]
    status: int
    reason: str


class Leg:
    """What incoming and outgoing calls share once there is a dialog. ``ended`` is set exactly once."""

    def __init__(self, agent: Agent, session: Session, peer: Peer) -> None:
        """``peer`` is the neighbour on the other end of the signalling."""
        self.agent = agent
        self.peer = peer
        self.session = session
        self.dialog: Dialog | None = None
        self.answered = False
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._session_id = secrets.randbelow(1 << 31)
        self._version = 1
        self._expects_answer = False
        self._unacknowledged: ServerTransaction | None = None
        self._owes_bye = False

    def finish(self, ending: Ending) -> None:
        """The call is over, whatever else arrives."""
        if not self.ended.done():
            self.ended.set_result(ending)
        self.session.stop()

    def hang_up(self) -> None:
        """End an answered call with BYE; what has not been acknowledged yet is ended as soon as it is."""
        if self.ended.done():
            return
        self.finish(Ending("local", 200, "OK"))
        if self._unacknowledged is not None:
            self._owes_bye = True
        else:
            self._bye()

    def _bye(self) -> None:
        if self.dialog is None:
            return
        self.agent.request(self.dialog.request("BYE"), self._next_hop(self.dialog), self._bye_answered)

    def _next_hop(self, dialog: Dialog) -> Peer:
        """Along the dialog's route, or to the neighbour itself where it names itself by an advertised address."""
        try:
            return self.agent.peer_of(dialog.next_hop())
        except Malformed:
            return self.peer

    def _bye_answered(self, response: Response) -> None:
        if response.status >= 200:
            self._forget()

    def _forget(self) -> None:
        if self.dialog is not None:
            self.agent.dialogs.pop(self.dialog.key, None)

    # session descriptions

    def _accept_offer(self, body: bytes) -> sdp.Audio:
        """Read the other side's description and send audio where it says; ``NotAcceptable`` where we cannot."""
        audio = sdp.parse(body)
        if not self.agent.allowed(str(audio.address)) and not audio.address.is_unspecified:
            # An advertised or private address: audio goes to where the signalling came from.
            audio = replace(audio, address=IPv4Address(self.peer[0]))
        self.session.connect(audio)
        return audio

    def _describe(self, audio: sdp.Audio | None) -> bytes:
        """Our description: the answer to an offer, or an offer where there was none."""
        if audio is None:
            return sdp.offer(self.agent.host, self.session.port, self._session_id, self._version)
        return sdp.answer(audio, self.agent.host, self.session.port, self._session_id, self._version)

    def _answer_with_description(self, request: Request, transaction: ServerTransaction, tag: str) -> None:
        """200 to an INVITE or UPDATE; without an offer in an INVITE we make one and the ACK answers it."""
        audio = self._accept_offer(request.body) if request.body else None
        reply = request.response(200, tag=tag)
        reply.add("contact", self.agent.contact)
        reply.add("allow", ALLOW)
        if audio is not None or request.method == "INVITE":
            reply.add("content-type", "application/sdp")
            reply.body = self._describe(audio)
        if request.method == "INVITE":
            self._expects_answer = audio is None
            self._unacknowledged = transaction
            transaction.on_acknowledged = self._acknowledged
            transaction.on_unacknowledged = self._never_acknowledged
        transaction.respond(reply)

    def _acknowledged(self) -> None:
        self._unacknowledged = None
        if self._owes_bye:
            self._owes_bye = False
            self._bye()

    def _never_acknowledged(self) -> None:
        self._unacknowledged = None
        self.finish(Ending("failure", 408, "No ACK"))
        self._bye()

    # requests inside the dialog

    def on_ack(self, request: Request) -> None:
        """The ACK of our 200."""
        if self._unacknowledged is None:
            return
        if self._expects_answer and request.body:
            self._expects_answer = False
            try:
                self._accept_offer(request.body)
            except sdp.NotAcceptable as error:
                log.info(
                    "carrier_answer_not_acceptable", sip_call_id=request.get("call-id"), error=str(error)
                )
        self._unacknowledged.acknowledged()

    def on_request(self, request: Request, transaction: ServerTransaction) -> None:
        """A request inside the dialog."""
        dialog = self.dialog
        if dialog is None or NameAddr.parse(request.get("from")).tag != dialog.remote_tag:
            transaction.respond(request.response(481))
            return
        if request.cseq[0] < dialog.remote_cseq:  # out of order (RFC 3261 section 12.2.2)
            transaction.respond(request.response(500))
            return
        dialog.remote_cseq = request.cseq[0]
        if request.method == "BYE":
            transaction.respond(request.response(200))
            self._on_bye()
            self._forget()
        elif self.ended.done():
            transaction.respond(request.response(481))
        elif request.method in ("INVITE", "UPDATE"):
            self._renegotiate(request, transaction, dialog)
        elif request.method == "INFO":
            self._on_info(request)
            transaction.respond(request.response(200))
        elif request.method == "OPTIONS":
            reply = request.response(200)
            reply.add("allow", ALLOW)
            transaction.respond(reply)
        else:
            reply = request.response(405)
            reply.add("allow", ALLOW)
            transaction.respond(reply)

    def _on_bye(self) -> None:
        if self._unacknowledged is not None:  # its BYE says as much as an ACK
            self._unacknowledged.acknowledged()
        self.finish(Ending("remote", 200, "OK"))

    def _renegotiate(self, request: Request, transaction: ServerTransaction, dialog: Dialog) -> None:
        if request.method == "INVITE" and self._unacknowledged is not None:
            transaction.respond(request.response(491))
            return
        try:
            dialog.target = contact(request) or dialog.target
            self._version += 1
            self._answer_with_description(request, transaction, dialog.local_tag)
        except sdp.NotAcceptable as error:
            log.info("carrier_offer_not_acceptable", sip_call_id=dialog.call_id, error=str(error))
            transaction.respond(request.response(488))

    def _on_info(self, request: Request) -> None:
        """A key press as ``application/dtmf-relay`` (``Signal=5``)."""
        if not request.get("content-type").lower().startswith("application/dtmf"):
            return
        text = request.body.decode("ascii", "replace").strip()
        for line in text.splitlines():
            name, equals, value = line.partition("=")
            signal = value.strip() if equals and name.strip().lower() == "signal" else ""
            if not equals and len(text) <= 2:
                signal = text
            digit = signal.upper() if signal.upper() in tuple("*#ABCD") else _INFO_DIGITS.get(signal, "")
            if digit:
                self.session.digits.append(digit)
                return


class IncomingLeg(Leg):
    """A call that came in. At most one final answer is sent, by ``answer`` or ``refuse``."""

    def __init__(
        self, agent: Agent, session: Session, request: Request, transaction: ServerTransaction
    ) -> None:
        super().__init__(agent, session, transaction.peer)
        self.request = request
        self._transaction = transaction
        self._tag = secrets.token_hex(6)
        dialog = Dialog.incoming(request, self._tag)
        self.dialog = dialog
        agent.dialogs[dialog.key] = self
        transaction.on_cancel = self._cancelled
        transaction.respond(request.response(100))

    def ring(self) -> None:
        """180."""
        self._provisional(180, b"")

    def progress(self) -> None:
        """183 with our description, so that the caller hears us before the answer."""
        audio = self._accept_offer(self.request.body) if self.request.body else None
        self._provisional(183, self._describe(audio) if audio is not None else b"")

    def answer(self) -> None:
        """200. ``NotAcceptable`` where the offer names no audio we can do: refuse with 488 then."""
        if self.ended.done():
            return
        self._answer_with_description(self.request, self._transaction, self._tag)
        self.answered = True

    def refuse(self, status: int, reason: str = "") -> None:
        """A final answer of 300 or more; does nothing once there was one."""
        if self._transaction.final:
            return
        self._transaction.respond(self.request.response(status, reason, tag=self._tag))
        self._forget()
        self.finish(Ending("local", status, reason))

    def hang_up(self) -> None:
        """BYE, or 480 while it is not answered."""
        if self.answered:
            super().hang_up()
        else:
            self.refuse(480)

    def _provisional(self, status: int, body: bytes) -> None:
        reply = self.request.response(status, tag=self._tag)
        reply.add("contact", self.agent.contact)
        reply.add("allow", ALLOW)
        if body:
            reply.add("content-type", "application/sdp")
            reply.body = body
        self._transaction.respond(reply)

    def _cancelled(self) -> None:
        self._give_up("Cancelled by the caller")

    def _on_bye(self) -> None:
        if self.answered:
            super()._on_bye()
        else:  # a BYE to a call that still rings
            self._give_up("Hung up by the caller")

    def _give_up(self, reason: str) -> None:
        self._transaction.respond(self.request.response(487, tag=self._tag))
        self._forget()
        self.finish(Ending("remote", 487, reason))
