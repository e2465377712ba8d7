"""The table of call detail records: one row for each call, written with the call's final record."""

from __future__ import annotations

import sqlalchemy as sa

from ringline.storage import bulk, metadata
from ringline.storage.types import Timestamp

_ZERO = sa.text("'00000000-0000-0000-0000-000000000000'::uuid")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _number(name: str, kind: type[sa.Integer] = sa.Integer) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, server_default=sa.text("0"))


cdrs = sa.Table(
    "cdrs",
    metadata,
    # the call's id
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    *(
        sa.Column(name, sa.Uuid, nullable=False, server_default=_ZERO)
        for name in ("billing_account_id", "flow_id", "activeflow_id", "groupcall_id", "master_call_id")
    ),
    *(
        _text(name)
        for name in (
            "direction",
            "type",
            "source_type",
            "source",
            "source_name",
            "destination_type",
            "destination",
            "destination_name",
        )
    ),
    sa.Column("anonymous", sa.Boolean, nullable=False, server_default=sa.false()),
    *(_text(name) for name in ("hangup_by", "hangup_reason", "hangup_detail")),
    _number("hangup_cause"),
    _number("hangup_sip_code"),
    # whole seconds, rounded up: from the beginning to the end, and from the answer to the end
    _number("duration"),
    _number("billsec"),
    _text("cost_type"),
    # what the rate is found by, and how it was when the call began; 0 seconds where nothing is charged
    _text("rate_number"),
    _number("rate_seconds"),
    _number("rate_token", sa.BigInteger),
    _number("rate_credit", sa.BigInteger),
    _number("rate_minimum"),
    _text("rate_rounding"),
    _number("billable_units"),
    # its end was not seen, so that no more is charged than was held for it
    sa.Column("bounded", sa.Boolean, nullable=False, server_default=sa.false()),
    # positive: what was taken from the account
    _number("amount_token", sa.BigInteger),
    _number("amount_credit", sa.BigInteger),
    sa.Column("tm_create", Timestamp, nullable=False),
    sa.Column("tm_ringing", Timestamp, nullable=True),
    sa.Column("tm_progressing", Timestamp, nullable=True),
    sa.Column("tm_hangup", Timestamp, nullable=True),
    sa.Column("tm_settle", Timestamp, nullable=True),
    sa.Index("ix_cdrs_page", "customer_id", sa.text("tm_create DESC"), sa.text("id DESC")),
    sa.Index("ix_cdrs_source", "customer_id", "source", sa.text("tm_create DESC")),
    sa.Index("ix_cdrs_destination", "customer_id", "destination", sa.text("tm_create DESC")),
    sa.Index("ix_cdrs_unsettled", "tm_create", postgresql_where=sa.text("tm_settle IS NULL")),
)

_AMOUNTS = ("amount_token", "amount_credit")
INSERT = bulk.insert_new(cdrs, [column.name for column in cdrs.c if column.name not in _AMOUNTS])
"""Stores records that are not there yet; one that is stays as it is."""
SETTLE = bulk.update(cdrs, ["billable_units", *_AMOUNTS, "tm_settle"])
"""What was charged for them."""
