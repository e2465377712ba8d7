"""A telephone with audio that calls a SIP address and says what it saw."""

from __future__ import annotations

from tests.stack.rtp import Ear
from tests.stack.sip import WITHIN, Dialog, Message, Phone, dialog, new_branch


class Caller:
    """A telephone with audio that calls the carrier."""

    def __init__(self, phone: Phone, ear: Ear, carrier_port: int) -> None:
        self.phone = phone
        self.ear = ear
        self.port = carrier_port
        self.rtp_port = 0
        self.invite: Dialog

    def call(
        self, number: str, *extra: str, from_: str = "<sip:+15551234567@127.0.0.1>", body: str | None = None
    ) -> str:
        """Send the INVITE; returns its Call-ID."""
        self.invite = dialog(self.phone, f"sip:{number}@127.0.0.1:{self.port}", from_)
        self.phone.send(
            self.invite.text("INVITE", *extra, body=self.ear.sdp() if body is None else body), self.port
        )
        return self.invite.call_id

    async def status(self, status: int, within: float = WITHIN) -> Message:
        return await self.phone.wait(
            lambda m: m.status == status and m.one("call-id") == self.invite.call_id and m.method == "INVITE",
            within,
        )

    async def answered(self, within: float = WITHIN) -> Message:
        """Wait for the 200 and acknowledge it."""
        answer = await self.status(200, within)
        self.take_media(answer)
        self.invite.accept(answer)
        self.invite.branch = new_branch()
        self.send("ACK")
        return answer

    def take_media(self, message: Message) -> None:
        media = next(line for line in message.body.splitlines() if line.startswith("m=audio"))
        self.rtp_port = int(media.split()[1])

    def refused(self, answer: Message) -> None:
        """Acknowledge a refusal (same branch)."""
        self.invite.to = answer.one("to")
        self.send("ACK")

    def send(self, method: str, *extra: str, body: str = "") -> None:
        self.phone.send(self.invite.text(method, *extra, body=body), self.port)

    async def bye(self) -> None:
        self.invite.next()
        self.send("BYE")
        answer = await self.phone.final(self.invite.call_id, "BYE")
        assert answer.status == 200

    def statuses(self) -> list[int]:
        """The responses to the INVITE, repetitions left out."""
        mine = [
            m for m in self.phone.received if m.one("call-id") == self.invite.call_id and m.method == "INVITE"
        ]
        return list(dict.fromkeys(m.status for m in mine if m.status))
