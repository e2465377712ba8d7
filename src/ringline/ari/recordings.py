# ruff: noqa: N802, N803 - operations and parameters are spelled as ARI spells them
"""Recordings, running and stored (https://docs.asterisk.org, Recordings REST API)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .codec import quote
from .models import Model, Resource

if TYPE_CHECKING:
    from .client import Client


class LiveRecording(Model):
    """A recording in progress, named by its file name without extension."""

    kind = "recording"
    resource = "recordings"
    id_parameter = "recordingName"

    def _path(self) -> str:
        return f"recordings/live/{quote(self.id)}"

    def stop(self) -> asyncio.Future[None]:
        """Stop and keep it."""
        return self._send("POST", "/stop")

    def cancel(self) -> asyncio.Future[None]:
        """Stop and throw it away."""
        return self._send("DELETE")

    def pause(self) -> asyncio.Future[None]:
        """Pause; the time does not count towards its limit."""
        return self._send("POST", "/pause")

    def unpause(self) -> asyncio.Future[None]:
        """Go on."""
        return self._send("DELETE", "/pause")

    def mute(self) -> asyncio.Future[None]:
        """Record silence."""
        return self._send("POST", "/mute")

    def unmute(self) -> asyncio.Future[None]:
        """Record what is said again."""
        return self._send("DELETE", "/mute")


class StoredRecording(Model):
    """A finished recording."""

    kind = "recording"
    resource = "recordings"
    id_parameter = "recordingName"

    def _path(self) -> str:
        return f"recordings/stored/{quote(self.id)}"

    def deleteStored(self) -> asyncio.Future[None]:
        """Delete the file."""
        return self._send("DELETE")

    def copyStored(self, destinationRecordingName: str) -> asyncio.Future[StoredRecording]:
        """Copy it under another name."""
        return self._send(
            "POST",
            "/copy",
            query={"destinationRecordingName": destinationRecordingName},
            convert=lambda json: StoredRecording(self.client, json, self.key),
        )

    def getStoredFile(self) -> asyncio.Future[bytes]:
        """The file, over HTTP."""
        return asyncio.ensure_future(self.client.download(f"{self._path()}/file"))


class Recordings(Resource):
    """``client.recordings``."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, "recordings")

    def listStored(self) -> asyncio.Future[list[StoredRecording]]:
        """Every stored recording."""
        return self._client.send(
            "GET", "recordings/stored", convert=self._client.promotion("List[StoredRecording]")
        )

    def getStored(self, recordingName: str, *, key: str = "") -> asyncio.Future[StoredRecording]:
        """One stored recording."""
        return StoredRecording(self._client, {"name": recordingName}, key).refresh()

    def getLive(self, recordingName: str, *, key: str = "") -> asyncio.Future[LiveRecording]:
        """One running recording."""
        return LiveRecording(self._client, {"name": recordingName}, key).refresh()


def record_query(name: str, format: str, **options: Any) -> dict[str, Any]:  # noqa: A002
    """What ``record`` sends."""
    return {"name": name, "format": format, **options}
