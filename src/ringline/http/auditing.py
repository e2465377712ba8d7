"""Who writes down what administrators change."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from ringline.http.route import Request, Route


class Auditor(Protocol):
    """The trail of administrative changes (``audit.Trail``)."""

    def acting(self, route: Route, request: Request[Any, Any]) -> AbstractAsyncContextManager[None]:
        """The handler of an audited route runs in here: what it changes is written down with who asked for it."""
