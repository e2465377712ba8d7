"""SIP accounts of phones."""

from ringline.extensions.seed import seed

__all__ = ["seed"]
