"""Twilio: numbers, texts and ports over its REST API, voice over its Elastic SIP Trunking.

Facts: Twilio's public API documentation and its OpenAPI description (api v2010, numbers v1 and v2, trunking v1).
"""

from ringline.vendors.twilio.vendor import Twilio

__all__ = ["Twilio"]
