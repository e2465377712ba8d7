"""``GET /v1.0/ws``."""

from __future__ import annotations

from urllib.parse import urlsplit

from ringline.errors import PermissionDenied, ResourceExhausted, RinglineError
from ringline.events.sockets.service import Sockets
from ringline.http import Request, Route, SocketReply

_DESCRIPTION = """\
A WebSocket (RFC 6455) on which events arrive as they happen, in the form of webhooks' bodies: `id`, `type`,
`timestamp`, `sequence`, `resource`, `data` and so on. Nothing comes until topics are subscribed to:

- `{"type": "subscribe", "topics": ["customer_id:<id>:call"], "after": "<id of the last event you have>"}` adds
  topics. The answer is `{"type": "subscribed", "topics": [...], "last": "<event id>"}`. With `after` everything since
  that event comes first, in order, and then `{"type": "resumed", "events": n}`; without it events come from `last`
  on, which is also what to go on from when the connection breaks before the first event. Nothing is left out or told
  twice. Where `after` is not kept any more, `{"type": "resume_gap", "after", "oldest"}` says so. The zero UUID stands
  for the beginning of what is kept.
- `{"type": "unsubscribe", "topics": [...]}` is answered `unsubscribed`, `{"type": "ping"}` with `pong`.
- What cannot be done is answered `{"type": "error", "error": {"status", "reason", "message"}}`. A `ref` in a command
  comes back in its answer.

A topic is `customer_id:<id>` (admins, managers and access keys) or `agent_id:<id>` (that agent: what happens to it,
and what names it), and may go on with `:<resource>` (`call`) and `:<id of the resource>`.

We ping; a reader that does not answer is dropped. Close codes: 1001 this process is being stopped, 1003 not text,
1008 too many frames, 1009 too large a frame, 1013 try again later, 4001 the credential is not good any more, 4003 it
is not enough any more or the customer is frozen, 4008 too slow: too many events waited."""


class UpgradeRequired(RinglineError):
    """426: this is a WebSocket; the request must be its handshake."""

    http_status = 426
    status = "INVALID_ARGUMENT"
    default_reason = "UPGRADE_REQUIRED"


class OriginForbidden(PermissionDenied):
    """403: a page of another site may not use the cookie of a login here."""

    default_reason = "ORIGIN_FORBIDDEN"


def socket_routes(sockets: Sockets, api_url: str) -> list[Route]:
    """The WebSocket."""
    own = _origin(api_url)

    async def connect(request: Request) -> SocketReply:
        headers = request.headers
        if headers.get("Upgrade", "").strip().lower() != "websocket" or "Sec-WebSocket-Key" not in headers:
            raise UpgradeRequired("This is a WebSocket: connect to it with a client for WebSockets.")
        origin = headers.get("Origin", "")
        # browsers send cookies wherever the page that asks is from; other credentials are the page's own
        if (
            request.by_cookie
            and origin
            and _origin(origin) not in (own, _origin(f"//{headers.get('Host', '')}"))
        ):
            raise OriginForbidden(
                f"A page of {origin[:200]} may not connect by a cookie; give the token as ?token= instead."
            )
        await sockets.admit(request.customer_id)
        return SocketReply(sockets.serve)

    return [
        Route(
            method="GET",
            path="/v1.0/ws",
            handler=connect,
            summary="Events as they happen, on a WebSocket",
            description=_DESCRIPTION,
            tags=("events",),
            response=None,
            socket=True,
            errors=(UpgradeRequired, OriginForbidden, ResourceExhausted),
        )
    ]


def _origin(url: str) -> str:
    """Host and port of an origin: the scheme is a proxy's affair."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "wss": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return "?"
    return f"{parts.hostname}:{port}"
