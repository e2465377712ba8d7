"""Errors as whole answers, also where no request came about: nobody gets one in another form."""

from __future__ import annotations

import secrets
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from ringline.errors import InvalidArgument, ResourceExhausted, RinglineError
from ringline.http import problems
from ringline.http.carried import retry_after
from ringline.http.endpoint import JSON

HEADERS: Final = {
    "Server": "ringline",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
# Of the request line, and of one header: a credential and a page token fit in many times.
LONGEST_LINE: Final = 8190
MOST_HEADERS: Final = 100
_CROWDED: Final = ResourceExhausted(
    "Your address has too many connections; close some and try again.", reason="TOO_MANY_CONNECTIONS"
)
_CROWDED_SECONDS: Final = 5


def new_request_id() -> str:
    """The name by which a request is found in the log."""
    return "req_" + secrets.token_hex(12)


def failure(
    error: RinglineError, request_id: str, *, domain: str = "api", status: int | None = None
) -> web.Response:
    """The answer to a request that failed; ``status`` where it is not the error's own."""
    response = web.Response(
        body=problems.envelope(error, request_id, domain),
        status=status or error.http_status,
        content_type=JSON,
    )
    if (seconds := retry_after(error)) is not None:
        response.headers["Retry-After"] = seconds
    return response


def unread(fault: BaseException | None, status: int) -> web.Response:
    """The answer to what could not be read as a request, or to one of which nobody else answers the failure."""
    request_id = new_request_id()
    if isinstance(fault, HttpProcessingError):
        response = failure(_unreadable(fault), request_id, status=status)
    else:
        response = failure(problems.unexpected(request_id), request_id, status=status)
    response.headers.update({**HEADERS, "X-Request-Id": request_id})
    return response


def crowded() -> bytes:
    """What a connection is sent that is not even read from."""
    request_id = new_request_id()
    body = problems.envelope(_CROWDED, request_id, "api")
    headers = {
        **HEADERS,
        "X-Request-Id": request_id,
        "Retry-After": str(_CROWDED_SECONDS),
        "Content-Type": JSON,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 429 Too Many Requests\r\n{lines}\r\n".encode() + body


def _unreadable(fault: HttpProcessingError) -> InvalidArgument:
    # never what was sent: it may hold a credential
    if isinstance(fault, LineTooLong):
        return InvalidArgument(
            f"The request line or a header is longer than {LONGEST_LINE} bytes; long values belong in the body.",
            reason="HEADER_TOO_LONG",
        )
    if fault.message.startswith("Too many headers"):
        return InvalidArgument(
            f"The request has more than {MOST_HEADERS} headers.", reason="TOO_MANY_HEADERS"
        )
    if isinstance(fault, BadHttpMethod):
        return InvalidArgument(
            "This is not an HTTP request. HTTPS is spoken by a proxy in front, if there is one.",
            reason="NOT_HTTP",
        )
    # the parser says what is wrong in a line of its own and then shows it
    what, shows, _ = fault.message.partition("\n")
    why = f": {what.rstrip(':')}" if shows else ""
    return InvalidArgument(f"The request is not valid HTTP/1.1{why}.", reason="NOT_HTTP")
