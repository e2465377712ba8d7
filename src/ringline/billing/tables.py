"""The tables of money: accounts, the ledger of what changed them, and what is promised to what goes on."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from ringline.storage import metadata
from ringline.storage.types import (
    Timestamp,
    customer_column,
    id_column,
    paging_index,
    text_column,
    tm_columns,
)


def _whole(name: str) -> Column[int]:
    """Micro-US-dollars or tokens: money is whole numbers."""
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


billing_accounts = Table(
    "billing_accounts",
    metadata,
    id_column(),
    customer_column(),
    text_column("name"),
    text_column("detail"),
    text_column("plan_type"),
    _whole("balance_credit"),
    _whole("balance_token"),
    # the sums of the account's rows in `billing_holds`
    _whole("held_credit"),
    _whole("held_token"),
    text_column("payment_type"),
    text_column("payment_method"),
    Column("tm_last_topup", Timestamp, nullable=True),
    Column("tm_next_topup", Timestamp, nullable=True),
    *tm_columns(),
)
paging_index(billing_accounts)

billings = Table(
    "billings",
    metadata,
    id_column(),
    # of one account the order in which its balance changed
    Column("position", BigInteger, Identity(always=True), nullable=False),
    # no foreign keys: what was paid is known longer than who paid
    Column("customer_id", Uuid, nullable=False),
    Column("account_id", Uuid, nullable=False),
    Column("transaction_type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reference_type", Text, nullable=False),
    Column("reference_id", Uuid, nullable=False),
    text_column("cost_type"),
    text_column("detail"),
    Column("usage_duration", Integer, nullable=False, server_default=text("0")),
    Column("billable_units", Integer, nullable=False, server_default=text("0")),
    _whole("rate_token_per_unit"),
    _whole("rate_credit_per_unit"),
    _whole("amount_token"),
    _whole("amount_credit"),
    _whole("balance_token_snapshot"),
    _whole("balance_credit_snapshot"),
    Column("idempotency_key", Text, nullable=False),
    Column("tm_billing_start", Timestamp, nullable=True),
    Column("tm_billing_end", Timestamp, nullable=True),
    Column("tm_create", Timestamp, nullable=False),
    UniqueConstraint("account_id", "idempotency_key", name="uq_billings_key"),
)
Index("ix_billings_page", billings.c.customer_id, billings.c.tm_create.desc(), billings.c.id.desc())
Index("ix_billings_account", billings.c.account_id, billings.c.position)
Index("ix_billings_reference", billings.c.reference_id)

billing_holds = Table(
    "billing_holds",
    metadata,
    Column("reference_id", Uuid, primary_key=True),
    Column("account_id", Uuid, nullable=False),
    Column("units", BigInteger, nullable=False),
    _whole("amount_token"),
    _whole("amount_credit"),
    Column("tm_create", Timestamp, nullable=False),
    Column("tm_expire", Timestamp, nullable=False),
    CheckConstraint("amount_token >= 0 AND amount_credit >= 0", name="ck_billing_holds_amounts"),
)
Index("ix_billing_holds_account", billing_holds.c.account_id)
Index("ix_billing_holds_expire", billing_holds.c.tm_expire)

rates = Table(
    "rates",
    metadata,
    id_column(),
    # grows with every change, in the order of commits: who has read all up to one reads what is greater
    Column("revision", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    # digits without the plus sign; "" is every number
    text_column("prefix"),
    text_column("name"),
    _whole("credit_per_unit"),
    _whole("token_per_unit"),
    # 0: a unit is a piece
    Column("unit_seconds", Integer, nullable=False, server_default=text("0")),
    Column("minimum_units", Integer, nullable=False, server_default=text("1")),
    Column("rounding", Text, nullable=False, server_default="up"),
    Column("tm_start", Timestamp, nullable=False),
    Column("tm_end", Timestamp, nullable=True),
    Column("tm_create", Timestamp, nullable=False),
    Column("tm_update", Timestamp, nullable=True),
    CheckConstraint("credit_per_unit >= 0 AND token_per_unit >= 0", name="ck_rates_amounts"),
)
Index("uq_rates_revision", rates.c.revision, unique=True)
Index("uq_rates_start", rates.c.kind, rates.c.prefix, rates.c.tm_start, unique=True)
Index("ix_rates_page", rates.c.tm_create.desc(), rates.c.id.desc())
rates_revision = Sequence("rates_revision", metadata=metadata)
