"""PostgreSQL and Redis: connections that survive a restart of the server, and the schema's migrations."""

from ringline.storage.behind import WriteBehind
from ringline.storage.bells import Bells
from ringline.storage.database import Database, DatabaseUnavailable
from ringline.storage.listener import Listener
from ringline.storage.live import Live, LiveUnavailable
from ringline.storage.metadata import metadata
from ringline.storage.mirror import Mirror

__all__ = [
    "Bells",
    "Database",
    "DatabaseUnavailable",
    "Listener",
    "Live",
    "LiveUnavailable",
    "Mirror",
    "WriteBehind",
    "metadata",
]
