# ruff: noqa: N803 - operations and parameters are spelled as ARI spells them
"""Applications: who gets which events (https://docs.asterisk.org, Applications REST API)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .codec import quote
from .models import Model, Resource

if TYPE_CHECKING:
    from .client import Client


class Application(Model):
    """A Stasis application; ``json`` has its ``channel_ids``, ``bridge_ids`` and ``endpoint_ids``."""

    kind = "application"
    resource = "applications"
    id_parameter = "applicationName"

    def subscribe(self, eventSource: str | Sequence[str]) -> asyncio.Future[Application]:
        """Get the events of ``channel:ID``, ``bridge:ID``, ``endpoint:TECH/NAME`` or ``deviceState:NAME``.

        An incoming channel's ``ChannelDestroyed`` comes only to an application that subscribed to the channel.
        """
        return self._subscription("POST", eventSource)

    def unsubscribe(self, eventSource: str | Sequence[str]) -> asyncio.Future[Application]:
        """Undo ``subscribe``."""
        return self._subscription("DELETE", eventSource)

    def _subscription(self, method: str, source: str | Sequence[str]) -> asyncio.Future[Application]:
        return self._send(
            method,
            "/subscription",
            query={"eventSource": source},
            convert=lambda json: Application(self.client, json, self.key),
        )


class Applications(Resource):
    """``client.applications``."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, "applications")

    def list(self) -> asyncio.Future[list[Application]]:
        """Every application that was ever connected since Asterisk started and still has a reason to exist."""
        return self._client.send("GET", "applications", convert=self._client.promotion("List[Application]"))

    def get(self, applicationName: str, *, key: str = "") -> asyncio.Future[Application]:
        """One application as it is now."""
        return self._handle(applicationName, key).refresh()

    def subscribe(
        self, applicationName: str, eventSource: str | Sequence[str], *, key: str = ""
    ) -> asyncio.Future[Application]:
        """See ``Application.subscribe``; ``key`` orders it among the requests of a call."""
        return self._handle(applicationName, key).subscribe(eventSource)

    def unsubscribe(
        self, applicationName: str, eventSource: str | Sequence[str], *, key: str = ""
    ) -> asyncio.Future[Application]:
        """See ``Application.unsubscribe``."""
        return self._handle(applicationName, key).unsubscribe(eventSource)

    def filter(self, applicationName: str, filter: dict[str, Any]) -> asyncio.Future[Application]:  # noqa: A002
        """Set the event filter (``allowed``, ``disallowed``). An allow-list without ``RESTResponse`` mutes us."""
        return self._client.send(
            "PUT",
            f"applications/{quote(applicationName)}/eventFilter",
            body=filter,
            convert=lambda json: Application(self._client, json),
        )

    def _handle(self, name: str, key: str) -> Application:
        return Application(self._client, {"name": name}, key)
