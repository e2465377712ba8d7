"""Every table of the product in one import: what the migrations must amount to."""

from __future__ import annotations

import importlib

from sqlalchemy import MetaData

from ringline.storage import metadata

_MODULES = (
    "ringline.audit.store",
    "ringline.billing.tables",
    "ringline.calls.store",
    "ringline.calls.waiting_store",
    "ringline.cdrs.tables",
    "ringline.conferences.store",
    "ringline.customers.tables",
    "ringline.customers.token_tables",
    "ringline.events.store",
    "ringline.extensions.store",
    "ringline.flows.store",
    "ringline.groupcalls.store",
    "ringline.hooks.store",
    "ringline.http.tables",
    "ringline.limits.store",
    "ringline.messages.store",
    "ringline.numbers.ports.tables",
    "ringline.numbers.tables",
    "ringline.outbound.store",
    "ringline.queues.store",
    "ringline.recordings.store",
    "ringline.routing.store",
    "ringline.traces.store",
    "ringline.transfers.store",
    "ringline.webhooks.deliveries.tables",
    "ringline.webhooks.endpoints.tables",
)


def load() -> MetaData:
    """The metadata with all tables on it."""
    for module in _MODULES:
        importlib.import_module(module)
    return metadata
