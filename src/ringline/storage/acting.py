"""In whose name a transaction changes what administrators change: what the trail of changes is told of it.

The trail is written by triggers of the database (migration 0025), in the transaction of the change. They fire where
a transaction names its actor, which ``Database.begin`` does for what runs in the context of an ``Acting``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import sqlalchemy as sa

NAME = sa.text("SELECT set_config('ringline.audit', :actor, true)")


class Acting:
    """``actor`` is JSON, as the triggers read it. ``used``: a transaction has named it.

    Tasks that a request leaves behind have inherited its context: once it is ``over`` they act for nobody.
    """

    __slots__ = ("actor", "over", "used")

    def __init__(self, actor: str) -> None:
        self.actor = actor
        self.used = False
        self.over = False


_acting: ContextVar[Acting | None] = ContextVar("ringline_acting", default=None)


def current() -> Acting | None:
    """Who acts here now."""
    acting = _acting.get()
    return None if acting is None or acting.over else acting


@contextmanager
def under(acting: Acting | None) -> Iterator[None]:
    """What happens in this block happens in the name of ``acting``; with ``None`` in nobody's."""
    token = _acting.set(acting)
    try:
        yield
    finally:
        _acting.reset(token)
        if acting is not None:
            acting.over = True
