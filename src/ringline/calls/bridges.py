"""Every bridge that is ours: to be told from those a dead controller left, and who hears of its loss."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

KINDS = ("connect", "conference", "queue", "echo", "transfer", "stream")
"""What our bridges are for. Asterisk knows a bridge as ``<kind>-<uuid>``."""
PREFIXES = tuple(f"{kind}-" for kind in KINDS)


def bridge_name(kind: str, bridge_id: UUID | None = None) -> str:
    """The name of a bridge in Asterisk, chosen before it is made. Raises ``ValueError`` for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of bridge: {', '.join(KINDS)}")
    return f"{kind}-{bridge_id or uuid4()}"


class Bridges:
    """The bridges that somebody here has, or may yet make."""

    def __init__(self) -> None:
        self._lost: dict[str, Callable[[], None]] = {}
        self._joined: set[str] = set()

    def own(self, name: str, lost: Callable[[], None]) -> None:
        """The bridge is ours from now on. ``lost`` is called when it vanished while parties were in it."""
        self._lost[name] = lost

    def joined(self, name: str) -> None:
        """Parties are in the bridge: from now on it is missed when Asterisk does not have it."""
        if name in self._lost:
            self._joined.add(name)

    def parted(self, name: str) -> None:
        """Nobody is in the bridge any more, or not yet: it is not missed."""
        self._joined.discard(name)

    def forget(self, name: str) -> None:
        """The bridge is done with. Harmless for one that nobody has."""
        self._lost.pop(name, None)
        self._joined.discard(name)

    def known_bridge(self, name: str) -> bool:
        return name in self._lost

    def joined_bridges(self) -> set[str]:
        """Bridges that Asterisk must have."""
        return set(self._joined)

    def bridge_lost(self, name: str) -> None:
        """Asterisk does not have the bridge any more: tell its owner."""
        lost = self._lost.get(name)
        if lost is not None:
            lost()
