"""What can be wrong with a request about ports."""

from __future__ import annotations

from ringline.errors import FailedPrecondition, NotFound, ResourceExhausted
from ringline.numbers.errors import NumberNotAvailable


class PortNotFound(NotFound):
    """404: no such port."""

    default_reason = "NUMBER_PORT_NOT_FOUND"


class PortStateInvalid(FailedPrecondition):
    """409: the port is not in a state in which this can be done."""

    default_reason = "NUMBER_PORT_STATE_INVALID"


class PortIncomplete(FailedPrecondition):
    """409: something is missing that the old carrier asks for; ``details`` name it."""

    default_reason = "NUMBER_PORT_INCOMPLETE"


class PortingUnavailable(FailedPrecondition):
    """409: no provider of this installation ports numbers, or not the one that was named."""

    default_reason = "NUMBER_PORTING_UNAVAILABLE"


class NumberPresent(NumberNotAvailable):
    """409: somebody here has the number already, or is porting it."""


class TooManyPorts(ResourceExhausted):
    """429: too many ports are under way; waiting alone does not help."""

    default_reason = "NUMBER_PORT_LIMIT_REACHED"
    retryable = False
