"""Flows in files: read, checked, and every finding with its line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ringline.errors import InvalidArgument
from ringline.flows import check, located
from ringline.flows.actions import Action
from ringline.flows.check import Finding, Rules, UrlCheck
from ringline.media import languages

MAX_BYTES = 8 * 1024 * 1024


class Unreadable(Exception):
    """What cannot be read as a flow at all; the message says where and why."""


@dataclass(slots=True)
class Document:
    """A flow's text and what was found in it."""

    name: str
    located: located.Located
    count: int
    actions: Sequence[Action] = ()
    faults: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    prefix: bool = True

    def where(self, finding: Finding) -> str:
        """``flow.json:12:7``."""
        line, column = self._line(finding)
        return f"{self.name}:{line}:{column}"

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.name,
            "faults": [self._shown(finding) for finding in self.faults],
            "warnings": [self._shown(finding) for finding in self.warnings],
        }

    def _shown(self, finding: Finding) -> dict[str, Any]:
        line, column = self._line(finding)
        return {**finding.as_json(), "line": line, "column": column}

    def _line(self, finding: Finding) -> tuple[int, int]:
        return self.located.line(finding.location if self.prefix else finding.location[1:])


def read(path: Path | None, text: str | None = None, *, url: UrlCheck | None = None) -> Document:
    """A flow of a file (``text``: of another source), checked.

    It is a list of actions, or an object with ``actions``: the body of a ``POST /v1.0/flows`` or ``/v1.0/calls``.
    Raises ``Unreadable``.
    """
    name = "-" if path is None else str(path)
    try:
        if text is None:
            text = _text(path or Path())
        data = json.loads(text)
        known = located.Located(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"{name}:{located.fault_of(error)}") from None
    except RecursionError:
        raise Unreadable(f"{name}: it is nested too deep to be a flow") from None
    except OSError as error:
        raise Unreadable(f"{name}: {error.strerror}") from None
    except ValueError as error:
        raise Unreadable(f"{name}: it is no UTF-8 text: {error}") from None
    whole = isinstance(data, dict)
    if not isinstance(data, list) and not (whole and "actions" in data):
        raise Unreadable(f"{name}: must be a list of actions, or an object with `actions`")
    raw = data["actions"] if isinstance(data, dict) else data
    found = check.examine(raw, Rules(well_formed, url))
    return Document(
        name,
        known,
        len(raw) if isinstance(raw, list) else 0,
        found.actions,
        found.faults,
        found.warnings,
        prefix=whole,
    )


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise Unreadable(f"{path}: it is larger than {MAX_BYTES} bytes")
    return content.decode()


def well_formed(tag: str) -> None:
    """Which languages can be spoken depends on the engines that run; here a tag must be one."""
    if not languages.canonical(tag):
        raise InvalidArgument(f"language {tag[:40]!r} is no language tag (BCP 47, such as en-US)")
