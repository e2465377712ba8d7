"""What customers may dial, and how much at once."""

from ringline.outbound.directory import DestinationForbidden, OutboundConfig, OutboundDirectory, Whitelist
from ringline.outbound.http import outbound_routes
from ringline.outbound.service import OutboundService

__all__ = [
    "DestinationForbidden",
    "OutboundConfig",
    "OutboundDirectory",
    "OutboundService",
    "Whitelist",
    "outbound_routes",
]
