"""SIP accounts of phones and of telephone systems, and who is registered with them."""

from ringline.extensions.directory import Extension, ExtensionDirectory
from ringline.extensions.registrations import RegistrationDirectory
from ringline.extensions.reloading import AccountReloads
from ringline.extensions.seed import seed
from ringline.extensions.trunk_directory import Trunk, TrunkDirectory

__all__ = [
    "AccountReloads",
    "Extension",
    "ExtensionDirectory",
    "RegistrationDirectory",
    "Trunk",
    "TrunkDirectory",
    "seed",
]
