"""A small API description in Asterisk's format (Swagger 1.1), enough to exercise what reads it."""

from __future__ import annotations

from typing import Any


def operation(nickname: str, method: str, response: str = "void", **parameters: str) -> dict[str, Any]:
    """``parameters``: name to place (``path``, ``query``, ``body``), with ``!`` for a required one."""
    return {
        "httpMethod": method,
        "nickname": nickname,
        "summary": f"{nickname} in one sentence.",
        "responseClass": response,
        "parameters": [
            {
                "name": name,
                "paramType": place.rstrip("!"),
                "required": place.endswith("!") or place == "path",
                "allowMultiple": False,
                "dataType": "string",
            }
            for name, place in parameters.items()
        ],
    }


def declaration(*apis: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "swaggerVersion": "1.1",
        "apis": [{"path": path, "operations": entries} for path, entries in apis],
    }


FILES: dict[str, Any] = {
    "resources.json": {
        "swaggerVersion": "1.1",
        "apis": [
            {"path": f"/api-docs/{name}.{{format}}"}
            for name in ("channels", "bridges", "endpoints", "events", "recordings")
        ],
    },
    "channels.json": declaration(
        ("/channels", [operation("list", "GET", "List[Channel]")]),
        (
            "/channels/{channelId}",
            [operation("hangup", "DELETE", channelId="path", reason_code="query", reason="query")],
        ),
        (
            "/channels/{channelId}/move",
            [operation("move", "POST", channelId="path", app="query!", appArgs="query")],
        ),
        (
            "/channels/externalMedia",
            [
                operation(
                    "externalMedia", "POST", "Channel", channelId="query", app="query!", variables="body"
                )
            ],
        ),
        (
            "/channels/{channelId}/variables",
            [operation("setChannelVars", "POST", channelId="path", variables="body!")],
        ),
    ),
    "bridges.json": declaration(
        (
            "/bridges/{bridgeId}/videoSource/{channelId}",
            [operation("setVideoSource", "POST", bridgeId="path", channelId="path")],
        ),
    ),
    "endpoints.json": declaration(
        ("/endpoints", [operation("list", "GET", "List[Endpoint]")]),
        ("/endpoints/{tech}/{resource}", [operation("get", "GET", "Endpoint", tech="path", resource="path")]),
        (
            "/endpoints/{tech}/{resource}/sendMessage",
            [
                {
                    **operation("sendMessageToEndpoint", "PUT", tech="path", resource="path", body="query"),
                }
            ],
        ),
    ),
    "events.json": declaration(
        (
            "/events",
            [{**operation("eventWebsocket", "GET", "Message", app="query!"), "upgrade": "websocket"}],
        ),
        (
            "/events/user/{eventName}",
            [operation("userEvent", "POST", eventName="path", application="query!", source="query")],
        ),
    ),
    "recordings.json": declaration(
        (
            "/recordings/stored/{recordingName}/file",
            [operation("getStoredFile", "GET", "binary", recordingName="path")],
        ),
    ),
}
