"""Webhooks of vendors: taken in, verified, stored, answered at once, and dealt with until that has worked."""

from ringline.hooks.dealing import Dealer
from ringline.hooks.http import hook_routes
from ringline.hooks.intake import Intake

__all__ = ["Dealer", "Intake", "hook_routes"]
