"""How often somebody may ask, as far as serving requests needs to know of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ringline.http.route import Principal


class Allowance(Protocol):
    """One limit of requests and what is left of it."""

    def headers(self) -> Iterable[tuple[str, str]]:
        """What an answer says of it."""


class Rates(Protocol):
    """Counts requests, without I/O: it is on the path of each."""

    def take(self, principal: Principal) -> tuple[Allowance | None, float, str]:
        """Count a request. The limit to tell of, 0 or the seconds to wait, and whose limit it is.

        ``None``: nothing limits it.
        """


class Doors(Protocol):
    """Judges addresses before anybody has proved who asks."""

    async def knock(self, remote: str) -> float:
        """Count a request to log in, or the like. 0, or the seconds to wait."""

    def distrusted(self, remote: str, token: str) -> float:
        """0, or the seconds to wait before the credential is looked at: the address has sent too many wrong ones."""

    def right(self, remote: str, token: str) -> None:
        """The credential was a good one."""

    def wrong(self, remote: str, token: str) -> None:
        """It was not."""
