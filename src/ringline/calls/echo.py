"""A party that hears itself.

ARI has no echo. A Local channel whose far end runs Asterisk's ``Echo()`` (context ``echo`` of ``extensions.conf``)
is the other party of a bridge; keys are kept out of it.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import structlog

from ringline import ari
from ringline.calls.ari_leg import AriLeg
from ringline.calls.bridges import Bridges, bridge_name
from ringline.calls.leg import LegError, LegGone
from ringline.calls.switchboard import Switchboard

log = structlog.get_logger(__name__)

ENDPOINT = "Local/echo@echo/n"
"""``/n``: the Local channel stays, or Asterisk would try to leave it out."""
OPEN_SECONDS = 5.0
SETTLE_SECONDS = 0.2
"""How long the event of a hang-up may trail the request that failed because of it."""
_GONE = (404, 409, 422)


class Echoes:
    """Makes echoes (``calls.switchboard``)."""

    def __init__(
        self, client: ari.Client, switchboard: Switchboard, bridges: Bridges, *, application: str
    ) -> None:
        self._client = client
        self._switchboard = switchboard
        self._bridges = bridges
        self._application = application

    async def echo(self, leg: AriLeg, seconds: float) -> None:
        """Let the party hear itself for so long. Raises ``LegGone`` and ``LegError``."""
        if not self._client.connected:
            raise LegError("MEDIA_SERVER_AWAY", "the media server is not connected")
        await Echo(self._client, self._switchboard, self._bridges, leg, self._application).run(seconds)


class Echo:
    """One party, its echo, and the bridge between them; ``run`` cleans up whatever ends it."""

    def __init__(
        self,
        client: ari.Client,
        switchboard: Switchboard,
        bridges: Bridges,
        leg: AriLeg,
        application: str,
    ) -> None:
        self.bridge_id = bridge_name("echo")
        self.channel_id = f"echo-{uuid4()}"
        self._far_id = f"{self.channel_id}-far"
        self._client = client
        self._switchboard = switchboard
        self._bridges = bridges
        self._leg = leg
        self._application = application
        self._key = str(leg.call.id)
        loop = asyncio.get_running_loop()
        self._joined: asyncio.Future[None] = loop.create_future()
        self._over: asyncio.Future[None] = loop.create_future()

    async def run(self, seconds: float) -> None:
        self._switchboard.auxiliary[self.channel_id] = self._heard
        # it is in our care as well, or whoever reconciles would take it for a stranger; it ends with the near one
        self._switchboard.auxiliary[self._far_id] = _ignore
        self._bridges.own(self.bridge_id, self._lost)
        try:
            await self._open()
            try:
                async with asyncio.timeout(seconds):
                    await self._over
            except TimeoutError:
                return
        finally:
            self._close()

    async def _open(self) -> None:
        bridge = self._send("POST", f"bridges/{self.bridge_id}", query={"type": "mixing", "name": "echo"})
        partner = self._send(
            "POST",
            f"channels/{self.channel_id}",
            body={
                "endpoint": ENDPOINT,
                "app": self._application,
                "appArgs": "echo",
                "otherChannelId": self._far_id,
            },
        )
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await asyncio.gather(bridge, partner)
                await self._joined
        except (ari.AriError, TimeoutError) as error:
            if not self._leg.leaving:
                await asyncio.sleep(SETTLE_SECONDS)
            if self._leg.gone or self._leg.leaving or self._leg.call.ending:
                raise LegGone from error
            raise LegError("ECHO_FAILED", f"the echo could not be made: {error or 'no answer'}") from error

    def _heard(self, event: dict[str, Any]) -> None:
        """An event of the Local channel."""
        if event["type"] == "StasisStart":
            bridge = f"bridges/{self.bridge_id}/addChannel"
            # a key would be heard as a tone by the one who pressed it
            party = self._send(
                "POST", bridge, query={"channel": self._leg.call.channel_id, "absorbDTMF": "true"}
            )
            partner = self._send("POST", bridge, query={"channel": self.channel_id})
            both = asyncio.gather(party, partner)
            both.add_done_callback(self._added)
        else:
            self._fail("the far end of the echo was lost")

    def _added(self, both: asyncio.Future[Any]) -> None:
        if both.cancelled() or self._joined.done():
            return
        error = both.exception()
        if error is None:
            self._bridges.joined(self.bridge_id)
            self._joined.set_result(None)
        else:
            self._joined.set_exception(error)

    def _lost(self) -> None:
        self._fail("the bridge of the echo was lost")

    def _fail(self, message: str) -> None:
        if not self._over.done():
            self._over.set_exception(LegError("ECHO_LOST", message))
            # where the flow was cancelled meanwhile, nobody asks
            self._over.exception()
        if not self._joined.done():
            self._joined.set_exception(ari.NotFound(message))
            self._joined.exception()

    def _close(self) -> None:
        self._switchboard.auxiliary.pop(self.channel_id, None)
        self._switchboard.auxiliary.pop(self._far_id, None)
        if not self._leg.gone:
            channel = self._leg.call.channel_id
            self._tell("POST", f"bridges/{self.bridge_id}/removeChannel", channel=channel)
        self._tell("DELETE", f"channels/{self.channel_id}")
        self._tell("DELETE", f"bridges/{self.bridge_id}")
        self._bridges.forget(self.bridge_id)

    def _send(self, method: str, uri: str, *, query: Any = None, body: Any = None) -> asyncio.Future[Any]:
        return self._client.send(method, uri, query=query, body=body, key=self._key)

    def _tell(self, method: str, uri: str, **query: str) -> None:
        self._client.tell(method, uri, query=query or None, key=self._key, ignore=_GONE)


def _ignore(event: dict[str, Any]) -> None:
    pass
