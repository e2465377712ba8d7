"""What can go wrong between this client and Asterisk, one class per thing a caller would do about it."""

from __future__ import annotations

from typing import ClassVar


class AriError(Exception):
    """Base of all errors of this package.

    ``status`` is the HTTP status of Asterisk's answer, 0 when there was no answer. ``message`` is
    Asterisk's own sentence where it gave one. ``method`` and ``uri`` name the request, where the error
    belongs to one. ``retryable`` says whether the same request may succeed later without anybody changing
    anything.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, status: int = 0, method: str = "", uri: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.method = method
        self.uri = uri

    def __str__(self) -> str:
        request = f"{self.method} {self.uri}: " if self.method else ""
        status = f"{self.status} " if self.status else ""
        return f"{request}{status}{self.message}"


class BadRequest(AriError):
    """400 or 422: a parameter is missing, malformed or names something that cannot be used."""


class Unauthorized(AriError):
    """401: user name or password of ``ari.conf`` is wrong."""


class Forbidden(AriError):
    """403: the ARI user is read-only, or this may not be done."""


class NotFound(AriError):
    """404: no such channel, bridge, playback, recording, or no such operation."""


class Conflict(AriError):
    """409: the object is not in a state for this (not in Stasis, not in a bridge, id already taken)."""


class NotAllowed(AriError):
    """405 or 406: not this method here, or not over this transport (binary answers come by HTTP only)."""


class Gone(AriError):
    """410 or 412: the channel left or was hung up while the request was under way."""


class ServerError(AriError):
    """5xx: Asterisk failed. An endpoint that cannot be dialled at all is a 500 too ("Allocation failed")."""


class ShuttingDown(ServerError):
    """503: Asterisk ends or has not begun yet."""

    retryable = True


class Unanswered(AriError):
    """No answer to a request that may have been carried out: reconcile before repeating it."""

    retryable = True


class ConnectionLost(Unanswered):
    """There is no connection, or it broke before the answer came."""


class RequestTimeout(Unanswered):
    """No answer within the time allowed; the connection itself seems to live."""


class Overloaded(AriError):
    """Too many requests are waiting for an answer: nothing was sent."""

    retryable = True


_BY_STATUS: dict[int, type[AriError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: NotAllowed,
    406: NotAllowed,
    409: Conflict,
    410: Gone,
    412: Gone,
    422: BadRequest,
    503: ShuttingDown,
}


def error_for(status: int, message: str, *, method: str = "", uri: str = "") -> AriError:
    """The error that stands for an answer of Asterisk with this status."""
    kind = _BY_STATUS.get(status) or (ServerError if status >= 500 else AriError)
    return kind(message, status=status, method=method, uri=uri)
