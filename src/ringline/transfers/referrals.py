"""Telephones that transfer with their own key: REFER (RFC 3515), with ``Replaces`` (RFC 3891) for a consulted party.

Kamailio lets REFER pass in dialogs of phones only; Asterisk answers 202, tells the telephone 100 (NOTIFY with
``message/sipfrag``), and tells us (``PJSIP_TRANSFER_HANDLING`` is ``ari-only``). Of Refer-To only the user counts,
and it means what the same telephone would mean by dialling it: no REFER leads to an address outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

import structlog

from ringline import ari
from ringline.calls.call import Call
from ringline.calls.line import Line
from ringline.calls.states import Direction, HangupReason
from ringline.calls.transfer import TransferStatus
from ringline.errors import RinglineError
from ringline.sip.address import Address
from ringline.transfers.metrics import referrals

log = structlog.get_logger(__name__)

_GONE = (404, 409, 412)
# What the telephone is told: the states of POST /channels/{id}/transfer_progress.
RINGS = "channel_progress"
DONE = "channel_answered"
UNAVAILABLE = "channel_unavailable"
DECLINED = "channel_declined"


class Lines(Protocol):
    """The part of the switchboard that is needed (``calls.switchboard``)."""

    def line_on(self, channel_id: str) -> Line | None: ...

    def live(self, call_id: UUID) -> Call | None: ...


class Transfers(Protocol):
    """Who carries transfers out (``transfers.service.TransferService``)."""

    def refer(
        self, transferer: Call, address: Address, changed: Callable[[TransferStatus, Call | None], None]
    ) -> None: ...

    def join(self, first: Call, second: Call) -> None: ...


class Phones(Protocol):
    """Whose telephone a call is of (``transfers.telephones.Telephones``)."""

    def account(self, call: Call) -> UUID | None: ...

    def meant(self, call: Call, text: str) -> Address | None: ...


class Referrals:
    """Hears of every REFER and answers each."""

    def __init__(self, client: ari.Client, lines: Lines, transfers: Transfers, phones: Phones) -> None:
        self._client = client
        self._lines = lines
        self._transfers = transfers
        self._phones = phones

    def start(self) -> None:
        """Listen to Asterisk's events."""
        self._client.on_event("ChannelTransfer", self._on_transfer)

    def _on_transfer(self, event: dict[str, Any]) -> None:
        if event.get("state") in (RINGS, DONE, UNAVAILABLE, DECLINED):
            # what we told the telephone comes back to us
            return
        channel_id = event["referred_by"]["source_channel"]["id"]
        line = self._lines.line_on(channel_id)
        if line is None or self._phones.account(line.call) is None:
            self._decline(channel_id, channel_id, "not_a_phone")
            return
        call = line.call
        wanted = event["refer_to"]
        try:
            if "protocol_id" in wanted["requested_destination"]:
                self._replace(call, (wanted.get("destination_channel") or {}).get("id", ""))
            else:
                dialled = str(wanted["requested_destination"].get("destination", ""))
                self._send_on(call, self._phones.meant(call, dialled))
        except RinglineError as error:
            log.info("refer_declined", call_id=str(call.id), why=error.message)
            self._decline(channel_id, str(call.id), "not_possible")

    def _send_on(self, call: Call, address: Address | None) -> None:
        """A blind transfer."""
        if address is None:
            self._decline(call.channel_id, str(call.id), "nobody_there")
            return

        def changed(status: TransferStatus, target: Call | None) -> None:
            if status is TransferStatus.COMPLETED:
                self._tell(call, DONE)
            elif not call.ending:
                self._tell(call, UNAVAILABLE)

        self._transfers.refer(call, address, changed)
        self._tell(call, RINGS)
        referrals.labels("blind").inc()

    def _replace(self, call: Call, channel_id: str) -> None:
        """The telephone joins this call with another one of its own."""
        line = self._lines.line_on(channel_id) if channel_id else None
        if line is None or not self._same_phone(call, line.call):
            # unknown and foreign alike
            self._decline(call.channel_id, str(call.id), "no_such_dialog")
            return
        other = line.call
        if other.tm_progressing is None and other.direction is Direction.INCOMING:
            # it does not wait until the other one answers: then that one is called on the party's behalf
            self._send_on(call, other.destination)
            line.leg.hang_up(HangupReason.NORMAL)
            return
        self._transfers.join(call, other)
        self._tell(call, DONE)
        referrals.labels("attended").inc()

    def _same_phone(self, one: Call, other: Call) -> bool:
        """Whether both calls are of one extension: nobody takes over the calls of another."""
        account = self._phones.account(one)
        return account is not None and account == self._phones.account(other)

    def _decline(self, channel_id: str, key: str, why: str) -> None:
        log.info("refer_declined", channel_id=channel_id, why=why)
        referrals.labels("declined").inc()
        self._progress(channel_id, key, DECLINED)

    def _tell(self, call: Call, state: str) -> None:
        self._progress(call.channel_id, str(call.id), state)

    def _progress(self, channel_id: str, key: str, state: str) -> None:
        uri = f"channels/{ari.quote(channel_id)}/transfer_progress"
        self._client.tell("POST", uri, query={"states": state}, key=key, ignore=_GONE)
