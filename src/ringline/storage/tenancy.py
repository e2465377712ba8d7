"""Whose rows a request may touch: each of its statements on what customers have must name the request's customer.

Rooms write their conditions themselves (``storage.rows``). This is the one place that sees every statement before it
is sent: one on a table with a ``customer_id``, or on ``customers``, that does not name the customer with its values
(``storage.naming``), or names another one, is not sent; the request ends with a 500, is logged and counted. What
looks across customers for a reason says so (``across``).
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import event
from sqlalchemy.engine import Engine

from ringline.metrics import registry
from ringline.storage.metadata import metadata
from ringline.storage.naming import Naming, naming

log = structlog.get_logger(__name__)

unbound = Counter(
    "ringline_unbound_statements_total",
    "Statements of requests, on what customers have, that did not name the request's customer, or named another.",
    registry=registry,
)


class UnboundStatement(Exception):
    """A statement of a customer's request was not sent, because it does not say that it is about that customer.

    A mistake of ours and no answer to anybody, hence no ``RinglineError``.
    """


class _Bound:
    """To ``customer_id``, in the task of the request.

    Tasks that it starts inherit its context and have work of their own: a worker that the first request of the day
    wakes up would be that customer's for good.
    """

    __slots__ = ("_task", "customer_id", "request_id")

    def __init__(self, customer_id: UUID, request_id: str) -> None:
        self.customer_id = customer_id
        self.request_id = request_id
        task = asyncio.current_task()
        # those that live on must not keep the request's task in memory
        self._task = None if task is None else weakref.ref(task)

    def here(self) -> bool:
        """Whether what runs now is the request itself."""
        # of a request that is over nothing is left
        task = None if self._task is None else self._task()
        return task is not None and task is _current()


def _current() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # in a thread, where the context may have been taken along
        return None


_bound: ContextVar[_Bound | None] = ContextVar("ringline_tenancy", default=None)


@contextmanager
def bound(customer_id: UUID | None, request_id: str = "") -> Iterator[None]:
    """What this task asks of the database in this block concerns one customer; ``None``: any."""
    token = _bound.set(None if customer_id is None else _Bound(customer_id, request_id))
    try:
        yield
    finally:
        _bound.reset(token)


@contextmanager
def across() -> Iterator[None]:
    """What is asked in this block looks across customers, or at rows that were found to be the customer's."""
    with bound(None):
        yield


def watch(engine: Engine, *, refuse: bool = True) -> None:
    """Look at every statement of this engine; one that forgot its customer raises ``UnboundStatement``.

    Unless ``refuse`` is false: then it is counted and logged all the same, and sent.
    """

    def look(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        here = _bound.get()
        if here is None or not here.here():
            return
        found = _naming(statement)
        if found is None:
            return
        for values in parameters if many else (parameters,):
            if not found.names(here.customer_id, values):
                _forgotten(statement, here, refused=refuse)
                return

    event.listen(engine, "before_cursor_execute", look)


def _forgotten(statement: str, here: _Bound, *, refused: bool) -> None:
    unbound.inc()
    log.error(
        "statement_not_bound",
        statement=statement,
        customer_id=str(here.customer_id),
        request_id=here.request_id,
        refused=refused,
    )
    if refused:
        raise UnboundStatement(
            "a statement of this request does not name the request's customer, or names another"
        )


@lru_cache(maxsize=1024)
def _naming(statement: str) -> Naming | None:
    tables = [name for name, table in metadata.tables.items() if "customer_id" in table.c]
    return naming(statement, [*tables, "customers"])
