"""Trunks: telephone systems that send calls through us, known by digest, by address, or by either."""

from ringline.extensions.trunks.http import trunk_routes
from ringline.extensions.trunks.service import TrunkService

__all__ = ["TrunkService", "trunk_routes"]
