"""How people come in and go: sign-up, forgotten passwords, leaving."""

from ringline.customers.entry.http import entry_routes
from ringline.customers.entry.leaving import Leaving
from ringline.customers.entry.resets import PasswordResets
from ringline.customers.entry.signup import Signups

__all__ = ["Leaving", "PasswordResets", "Signups", "entry_routes"]
