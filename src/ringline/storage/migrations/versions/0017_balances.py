"""Balances are followed in memory: an incoming call asks whether there is any left."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TRIGGER ringline_notify AFTER INSERT OR DELETE OR UPDATE ON billing_accounts"
        " FOR EACH ROW EXECUTE FUNCTION ringline_notify()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER ringline_notify ON billing_accounts")
