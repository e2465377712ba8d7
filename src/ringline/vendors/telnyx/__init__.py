"""Telnyx: numbers, texts and ports over its API v2 (https://developers.telnyx.com)."""

from ringline.vendors.telnyx.vendor import Telnyx

__all__ = ["Telnyx"]
