"""Controllers beside each other: whose a row is that lives in a controller's memory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_HERE = sa.text("COALESCE(current_setting('ringline.asterisk', true), '')")
_HOMES = (
    "calls",
    "activeflows",
    "recordings",
    "groupcalls",
    "transfers",
    "queuecalls",
    "conferencecalls",
)


def upgrade() -> None:
    for table in _HOMES:
        op.add_column(table, sa.Column("asterisk", sa.Text, nullable=False, server_default=_HERE))
    op.add_column("conferences", sa.Column("asterisk", sa.Text, nullable=False, server_default=""))
    op.add_column("messages", sa.Column("flow_asterisk", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("messages", "flow_asterisk")
    op.drop_column("conferences", "asterisk")
    for table in _HOMES:
        op.drop_column(table, "asterisk")
