"""The one exception hierarchy: an error knows its HTTP status, its reason code and whether to retry.

Status and reason codes are those of VoIPBIN's error model (``shared/spec/voipbin-api.md`` section 2).
"""

from __future__ import annotations

from typing import Any, ClassVar


class RinglineError(Exception):
    """Base of every error that Ringline raises on purpose.

    ``message`` is written for the person who sent the request: what was wrong with which field and what would
    be right. ``details`` are machine-readable facts, one object per fault.
    """

    http_status: ClassVar[int] = 500
    status: ClassVar[str] = "INTERNAL"
    default_reason: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, reason: str | None = None, details: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.details = details or []


class InvalidArgument(RinglineError):
    """400: a field of the request cannot be used as it is."""

    http_status = 400
    status = "INVALID_ARGUMENT"
    default_reason = "INVALID_ARGUMENT"


class Unauthenticated(RinglineError):
    """401: no credential, or one that is not valid (any more)."""

    http_status = 401
    status = "UNAUTHENTICATED"
    default_reason = "AUTHENTICATION_REQUIRED"


class PaymentRequired(RinglineError):
    """402: the customer's balance does not pay for what was asked."""

    http_status = 402
    status = "PAYMENT_REQUIRED"
    default_reason = "INSUFFICIENT_BALANCE"


class PermissionDenied(RinglineError):
    """403: the credential is valid and not enough."""

    http_status = 403
    status = "PERMISSION_DENIED"
    default_reason = "PERMISSION_DENIED"


class NotFound(RinglineError):
    """404: missing, deleted, or another customer's: all answered alike."""

    http_status = 404
    status = "NOT_FOUND"
    default_reason = "RESOURCE_NOT_FOUND"


class AlreadyExists(RinglineError):
    """409: another resource holds this name or key."""

    http_status = 409
    status = "ALREADY_EXISTS"
    default_reason = "ALREADY_EXISTS"


class FailedPrecondition(RinglineError):
    """409: the resource is not in a state in which this can be done."""

    http_status = 409
    status = "FAILED_PRECONDITION"
    default_reason = "FAILED_PRECONDITION"


class PayloadTooLarge(RinglineError):
    """413: the body is larger than the limit; the message names the limit."""

    http_status = 413
    status = "INVALID_ARGUMENT"
    default_reason = "PAYLOAD_TOO_LARGE"


class ResourceExhausted(RinglineError):
    """429: a limit on rate or number; ``details[0]["retry_after"]`` is in seconds where it is known."""

    http_status = 429
    status = "RESOURCE_EXHAUSTED"
    default_reason = "RATE_LIMIT_EXCEEDED"
    retryable = True


class Unavailable(RinglineError):
    """503: a part that the request needs does not answer now; the same request may go through later."""

    http_status = 503
    status = "UNAVAILABLE"
    default_reason = "SERVICE_UNAVAILABLE"
    retryable = True
