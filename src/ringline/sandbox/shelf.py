"""What the carrier remembers over a restart: tables of JSON objects, kept as lines of a file.

Every change is a line; the last one of an object is how it is. The file is written anew at the start, and when it has
become much longer than what it says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

log = structlog.get_logger(__name__)

Row = dict[str, Any]
_SLACK: Final = 20_000
"""Lines that say nothing any more, before the file is written anew."""


class Shelf:
    """``open`` reads the file; what cannot be read of it is left out and logged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failures = 0
        self._tables: dict[str, dict[str, Row]] = {}
        self._lines = 0
        self._file: TextIO | None = None

    def open(self) -> None:
        """Read what a former process left. Raises ``OSError`` where the folder cannot be written."""
        if self.path.exists():
            for number, line in enumerate(self.path.read_text("utf-8", "replace").splitlines(), 1):
                self._read(number, line)
        self._rewrite()

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def table(self, name: str) -> dict[str, Row]:
        """The objects of a table by their id, oldest first. To be changed by ``put`` and ``drop`` only."""
        return self._tables.setdefault(name, {})

    def put(self, table: str, key: str, row: Row) -> None:
        """Keep an object. It is on its way to the disk when this returns."""
        self.table(table)[key] = row
        self._write({"table": table, "key": key, "row": row})

    def drop(self, table: str, key: str) -> None:
        """Forget an object."""
        if self.table(table).pop(key, None) is not None:
            self._write({"table": table, "key": key, "row": None})

    def _read(self, number: int, line: str) -> None:
        try:
            entry = json.loads(line)
            table, key, row = str(entry["table"]), str(entry["key"]), entry["row"]
            if row is None:
                self.table(table).pop(key, None)
            else:
                self.table(table)[key] = dict(row)
        except (ValueError, KeyError, TypeError):
            # the last line of a process that was killed may be half of one
            log.warning("carrier_state_line_unreadable", path=str(self.path), line=number)

    def _write(self, entry: Row) -> None:
        try:
            if self._file is None:
                return
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            self._lines += 1
            if self._lines > _SLACK + 2 * sum(map(len, self._tables.values())):
                self._rewrite()
        except OSError as error:
            self.failures += 1
            log.error("carrier_state_failed", path=str(self.path), error=str(error))

    def _rewrite(self) -> None:
        self.close()
        fresh = self.path.with_name(f"{self.path.name}.new")
        self._lines = 0
        with fresh.open("w", encoding="ascii") as file:
            for table, rows in self._tables.items():
                for key, row in rows.items():
                    file.write(json.dumps({"table": table, "key": key, "row": row}) + "\n")
                    self._lines += 1
        fresh.replace(self.path)
        self._file = self.path.open("a", encoding="ascii")
