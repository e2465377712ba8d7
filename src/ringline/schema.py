"""Every table of the product in one import: what the migrations must amount to."""

from __future__ import annotations

import importlib

from sqlalchemy import MetaData

from ringline.storage import metadata

_MODULES = (
    "ringline.billing.tables",
    "ringline.calls.store",
    "ringline.conferences.store",
    "ringline.customers.tables",
    "ringline.extensions.store",
    "ringline.flows.store",
    "ringline.groupcalls.store",
    "ringline.http.tables",
    "ringline.numbers.tables",
    "ringline.queues.store",
    "ringline.recordings.store",
    "ringline.routing.store",
    "ringline.transfers.store",
)


def load() -> MetaData:
    """The metadata with all tables on it."""
    for module in _MODULES:
        importlib.import_module(module)
    return metadata
