"""A call that this side makes: INVITE, its answers, and giving up on it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

import structlog

from ringline.sandbox.audio.session import Session
from ringline.sandbox.ua import sdp
from ringline.sandbox.ua.address import NameAddr
from ringline.sandbox.ua.agent import ALLOW, Agent
from ringline.sandbox.ua.dialog import Dialog
from ringline.sandbox.ua.leg import Ending, Leg
from ringline.sandbox.ua.message import Request, Response
from ringline.sandbox.ua.transactions import LIFETIME, ClientTransaction, Peer

log = structlog.get_logger(__name__)


class OutgoingLeg(Leg):
    """``on_progress`` is told each provisional status, and 200 once when the call is answered."""

    def __init__(
        self,
        agent: Agent,
        session: Session,
        *,
        uri: str,
        from_value: str,
        headers: Sequence[tuple[str, str]],
        peer: Peer,
        on_progress: Callable[[int, str], None],
    ) -> None:
        """``from_value`` is the From header without its tag; ``headers`` are added as they are."""
        super().__init__(agent, session, peer)
        self.up = asyncio.Event()
        self.call_id = f"{secrets.token_hex(12)}@{agent.host}"
        self._on_progress = on_progress
        self._transaction: ClientTransaction | None = None
        self._owes_cancel = False
        self._request = self._invite(uri, from_value, headers)

    def _invite(self, uri: str, from_value: str, headers: Sequence[tuple[str, str]]) -> Request:
        request = Request(method="INVITE", uri=uri)
        request.add("via", self.agent.via())
        request.add("max-forwards", "70")
        request.add("from", f"{from_value};tag={secrets.token_hex(6)}")
        request.add("to", f"<{uri}>")
        request.add("call-id", self.call_id)
        request.add("cseq", "1 INVITE")
        request.add("contact", self.agent.contact)
        request.add("allow", ALLOW)
        for name, value in headers:
            request.add(name, value)
        request.add("content-type", "application/sdp")
        request.body = self._describe(None)
        return request

    def start(self) -> None:
        """Send the INVITE."""
        self._transaction = self.agent.request(self._request, self.peer, self._received)

    def cancel(self, reason: str) -> None:
        """Give up before the answer; an answer that crosses the CANCEL is hung up at once."""
        if self.ended.done():
            return
        self.finish(Ending("local", 487, reason))
        transaction = self._transaction
        if transaction is None or transaction.final:
            return
        # A CANCEL before any answer could overtake its INVITE (RFC 3261 section 9.1).
        if transaction.provisional:
            self._send_cancel(transaction)
        else:
            self._owes_cancel = True

    def hang_up(self) -> None:
        """BYE, or CANCEL while it is not answered."""
        if self.answered:
            super().hang_up()
        else:
            self.cancel("Given up")

    def _send_cancel(self, transaction: ClientTransaction) -> None:
        self.agent.request(transaction.cancel_request(), self.peer)
        # A peer that answers the CANCEL and never the INVITE is not waited for (RFC 3261 section 9.1).
        asyncio.get_running_loop().call_later(LIFETIME, self.agent.forget_invite, transaction)

    def _received(self, response: Response) -> None:
        if response.status < 200:
            self._provisional(response)
        elif response.status < 300:
            self._accepted(response)
        else:
            if self._transaction is not None:
                self.agent.forget_invite(self._transaction)
            by_us = response.status == 408 and not response.get("server") and not response.get("contact")
            self.finish(Ending("failure" if by_us else "remote", response.status, response.reason))

    def _provisional(self, response: Response) -> None:
        if self._owes_cancel and self._transaction is not None:
            self._owes_cancel = False
            self._send_cancel(self._transaction)
        if self.ended.done():
            return
        if response.body:
            try:
                self._accept_offer(response.body)
            except sdp.NotAcceptable as error:
                log.info("carrier_early_media_not_acceptable", sip_call_id=self.call_id, error=str(error))
        if response.status > 100:
            self._on_progress(response.status, response.reason)

    def _accepted(self, response: Response) -> None:
        tag = NameAddr.parse(response.get("to")).tag
        if self.dialog is not None and self.dialog.remote_tag == tag:
            self._acknowledge(self.dialog)
            return
        dialog = Dialog.outgoing(self._request, response)
        self._acknowledge(dialog)
        if self.dialog is not None:  # a second branch answered too: one is enough
            self.agent.request(dialog.request("BYE"), self._next_hop(dialog))
            return
        self.dialog = dialog
        self.agent.dialogs[dialog.key] = self
        if self._transaction is not None:
            self.agent.forget_invite(self._transaction)
        if self.ended.done():  # the answer crossed our CANCEL
            self._bye()
            return
        self.answered = True
        try:
            self._accept_offer(response.body)
        except sdp.NotAcceptable as error:
            log.info("carrier_answer_not_acceptable", sip_call_id=self.call_id, error=str(error))
            self.finish(Ending("failure", 488, str(error)))
            self._bye()
            return
        self.up.set()
        self._on_progress(200, response.reason)

    def _acknowledge(self, dialog: Dialog) -> None:
        self.agent.send_ack(dialog.request("ACK", cseq=1), self._next_hop(dialog))
