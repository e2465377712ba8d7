"""SIP accounts of phones."""

from ringline.extensions.directory import Extension, ExtensionDirectory
from ringline.extensions.seed import seed

__all__ = ["Extension", "ExtensionDirectory", "seed"]
