"""Which extensions want encrypted sound, and which codecs a customer's calls to SIP addresses offer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("extensions", sa.Column("srtp", sa.Text, nullable=False, server_default="optional"))
    op.add_column("outbound_configs", sa.Column("codecs", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("outbound_configs", "codecs")
    op.drop_column("extensions", "srtp")
