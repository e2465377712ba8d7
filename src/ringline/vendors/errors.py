"""What can go wrong with a vendor, told apart by what may be done about it."""

from __future__ import annotations

from typing import ClassVar


class VendorError(Exception):
    """Base. ``message`` may be shown to a customer: it names no credential and no address of ours.

    ``uncertain``: the vendor may have done what was asked; asking again might cost money twice, looking tells.
    ``status`` is that of its HTTP answer, 0 without one.
    """

    uncertain: ClassVar[bool] = False

    def __init__(self, message: str, *, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status


class VendorRefused(VendorError):
    """It was understood and refused (a number that is gone, a text too long): asking again changes nothing."""


class VendorUnknown(VendorError):
    """What was named does not exist at the vendor (any more)."""


class VendorMisconfigured(VendorError):
    """Our credentials or settings are wrong, or our account there has no money: the operator's business."""


class VendorBusy(VendorError):
    """It was not done because we ask too often; ``retry_after`` in seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0, code: str = "", status: int = 0) -> None:
        super().__init__(message, code=code, status=status)
        self.retry_after = retry_after


class VendorUnavailable(VendorError):
    """The request did not reach the vendor: nothing was done, and asking again is safe."""


class VendorUncertain(VendorError):
    """It reached the vendor, and the answer was lost, cut off, late or a 5xx: nobody knows what was done."""

    uncertain = True


class NotSupported(VendorError):
    """The vendor has no such capability."""


class HookRefused(VendorError):
    """A webhook whose signature is wrong, missing or too old."""
