"""All extensions in memory: what a call to one needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ringline.extensions.store import extensions
from ringline.storage import Database, Mirror


@dataclass(frozen=True, slots=True)
class Extension:
    """A phone's account: ``extension`` is its name within ``domain_name``, the customer's SIP realm.

    ``max_calls``: at once, 0 without a limit of its own. ``srtp``: ``none``, ``optional`` or ``required``.
    """

    id: UUID
    customer_id: UUID
    name: str
    extension: str
    domain_name: str
    max_calls: int = 0
    srtp: str = "optional"


class ExtensionDirectory(Mirror[Extension]):
    """All extensions that were not deleted."""

    def __init__(self, database: Database) -> None:
        super().__init__(
            database, extensions, _extension, key=lambda found: (found.domain_name, found.extension)
        )

    def by_name(self, domain_name: str, extension: str) -> Extension | None:
        """The extension of this name in a realm such as ``test.ringline.test``."""
        return self.by_key((domain_name, extension))


def _extension(row: Any) -> Extension:
    return Extension(
        row.id, row.customer_id, row.name, row.extension, row.domain_name, row.max_calls, row.srtp
    )
