"""Two parties in a bridge, and how a transfer gets hold of them.

A conversation belongs to the flow that waits for it (``calls.connection``), or, once the call that ran that flow is
gone, to nobody but its two parties: that is the ``Conversation`` here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import structlog

from ringline import ari
from ringline.calls.ari_leg import AriLeg
from ringline.calls.bridges import Bridges
from ringline.calls.call import Call
from ringline.calls.switchboard import Switchboard

if TYPE_CHECKING:
    from ringline.calls.recovery import Found

log = structlog.get_logger(__name__)

_GONE = (404, 409, 422)


class Borrower(Protocol):
    """Who has the parties of a conversation for a while (``calls.transfer``)."""

    def lost(self) -> None:
        """The bridge is gone."""

    def home_closed(self) -> None:
        """The flow that the conversation belongs to waits no more: bridge and parties are left to the borrower."""


class Joint(Protocol):
    """A conversation, whoever it belongs to."""

    @property
    def bridge_id(self) -> str: ...

    @property
    def key(self) -> str:
        """Requests for the bridge and its parties travel in order with this key."""

    @property
    def owner(self) -> Call | None:
        """The party whose flow waits for the end of the conversation."""

    def partner(self, call: Call) -> Call | None:
        """The other party; ``None`` where the two do not talk (yet, or any more), or are lent."""

    def lend(self, borrower: Borrower) -> None:
        """Leave bridge and parties to somebody. What becomes of them ends nothing here until they are given back."""

    def adopt(self, call: Call, missing: Collection[Call]) -> None:
        """Give back: the owner talks with this party from now on. ``missing`` are to be put into the bridge."""

    def finish(self) -> None:
        """Give back: nobody is left whom the owner could talk with."""


PART = "conversations"
"""The name under which conversations are kept for another controller."""


class Keeper(Protocol):
    """What outlives the controller (``calls.live_state``)."""

    def keep(self, part: str, key: str, value: dict[str, Any]) -> None: ...

    def drop(self, part: str, key: str) -> None: ...


class Conversation:
    """Two parties without a flow: when one hangs up, so does the other (``calls.line.LegHooks``)."""

    owner: Call | None = None

    def __init__(
        self,
        client: ari.Client,
        switchboard: Switchboard,
        bridges: Bridges,
        keeper: Keeper,
        bridge_id: str,
        key: str,
        parties: tuple[Call, Call],
    ) -> None:
        self.bridge_id = bridge_id
        self.key = key
        self._client = client
        self._switchboard = switchboard
        self._bridges = bridges
        self._keeper = keeper
        self._parties = parties
        self._borrower: Borrower | None = None
        self._closed = False

    def begin(self, missing: Collection[Call]) -> None:
        """Take the parties over. Nothing is waited for."""
        self._bridges.own(self.bridge_id, self.lost)
        first, second = self._parties
        self._keeper.keep(PART, self.bridge_id, {"key": self.key, "calls": [str(first.id), str(second.id)]})
        for call in self._parties:
            line = self._switchboard.line(call.id)
            if line is not None:
                line.hooks = self
        if missing:
            self._add(missing).add_done_callback(self._added)
        else:
            self._bridges.joined(self.bridge_id)
        if any(call.ended for call in self._parties):
            self._close()

    # lending

    def partner(self, call: Call) -> Call | None:
        if self._closed or self._borrower is not None or call not in self._parties:
            return None
        first, second = self._parties
        other = second if call is first else first
        return None if other.ending else other

    def lend(self, borrower: Borrower) -> None:
        self._borrower = borrower
        self._closed = True
        self._keeper.drop(PART, self.bridge_id)

    def adopt(self, call: Call, missing: Collection[Call]) -> None:
        raise RuntimeError("a conversation without an owner is not given back: make a new one")

    def finish(self) -> None:
        raise RuntimeError("a conversation without an owner is not given back")

    # what happens

    def lost(self) -> None:
        log.warning("conversation_lost", bridge_id=self.bridge_id)
        self._close()

    def call_ready(self, call: Call, leg: AriLeg) -> None:
        """Both were answered long ago."""

    def call_ringing(self, call: Call) -> None:
        """The caller hears of it by other means."""

    def call_early(self, call: Call) -> None:
        """Both were answered long ago."""

    def call_ended(self, call: Call) -> None:
        self._close()

    def _added(self, request: asyncio.Future[Any]) -> None:
        if request.cancelled() or self._closed:
            return
        error = request.exception()
        if error is None:
            self._bridges.joined(self.bridge_id)
            return
        log.warning("conversation_failed", bridge_id=self.bridge_id, error=str(error))
        self._close()

    def _close(self) -> None:
        """The one exit."""
        if self._closed:
            return
        self._closed = True
        self._keeper.drop(PART, self.bridge_id)
        for call in self._parties:
            if not call.ending:
                self._switchboard.hang_up(call)
        self._client.tell("DELETE", f"bridges/{self.bridge_id}", key=self.key, ignore=_GONE)
        self._bridges.forget(self.bridge_id)

    def _add(self, calls: Collection[Call]) -> asyncio.Future[Any]:
        channels = ",".join(call.channel_id for call in calls)
        uri = f"bridges/{self.bridge_id}/addChannel"
        return self._client.send("POST", uri, query={"channel": channels}, key=self.key)


class KeptConversations:
    """Puts conversations of another controller together again (``calls.recovery.Part``)."""

    def __init__(
        self, client: ari.Client, switchboard: Switchboard, bridges: Bridges, keeper: Keeper
    ) -> None:
        self._client = client
        self._switchboard = switchboard
        self._bridges = bridges
        self._keeper = keeper

    async def restore(self, found: Found) -> None:
        """Those whose parties are both still there go on; a party that is alone is hung up with the others that
        nobody claims."""
        for bridge_id, kept in found.kept(PART).items():
            calls = [self._switchboard.live(UUID(call_id)) for call_id in kept["calls"]]
            first, second = calls[0], calls[1]
            if first is None or second is None:
                self._keeper.drop(PART, bridge_id)
                continue
            conversation = Conversation(
                self._client,
                self._switchboard,
                self._bridges,
                self._keeper,
                bridge_id,
                str(kept["key"]),
                (first, second),
            )
            for call in (first, second):
                self._switchboard.claim(call.id, conversation)
            inside = set(found.bridges.get(bridge_id, {}).get("channels", ()))
            conversation.begin([call for call in (first, second) if call.channel_id not in inside])
