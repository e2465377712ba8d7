"""What customers may dial, and how much at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "outbound_configs",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("customer_id", sa.Uuid, sa.ForeignKey("customers.id"), nullable=False),
        sa.Column("name", sa.Text, nullable=False, server_default=""),
        sa.Column("detail", sa.Text, nullable=False, server_default=""),
        sa.Column("destination_whitelist", JSONB, nullable=True),
        sa.Column("max_calls", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("calls_per_second", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("tm_create", _moment, nullable=False),
        sa.Column("tm_update", _moment, nullable=True),
        sa.Column("tm_delete", _moment, nullable=True),
    )
    op.create_index(
        "uq_outbound_configs_customer_id",
        "outbound_configs",
        ["customer_id"],
        unique=True,
        postgresql_where=sa.text("tm_delete IS NULL"),
    )
    op.execute(
        "CREATE TRIGGER ringline_notify AFTER INSERT OR DELETE OR UPDATE ON outbound_configs"
        " FOR EACH ROW EXECUTE FUNCTION ringline_notify()"
    )


def downgrade() -> None:
    op.drop_table("outbound_configs")
