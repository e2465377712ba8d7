"""Whose a row is that lives in a controller's memory: the Asterisk's whose channels it is about.

A controller's connections say which one that is (``Database(home=...)``); what they insert carries it by a column's
default, so that no writer needs to know. Where one process does everything none is said, and all rows are its own.
"""

from __future__ import annotations

import sqlalchemy as sa

SETTING = "ringline.asterisk"
FIRST = "asterisk"
"""The Asterisk that a small installation has: what it left is this one's, when it becomes one of several."""

HERE = sa.text(f"COALESCE(current_setting('{SETTING}', true), '')")


def home_column() -> sa.Column[str]:
    """The Asterisk that a row belongs to; empty: the only one."""
    return sa.Column("asterisk", sa.Text, nullable=False, server_default=HERE)


def is_here(table: sa.Table) -> sa.ColumnElement[bool]:
    """Whether rows are of the Asterisk that this connection's process drives."""
    here = sa.func.coalesce(sa.func.current_setting(SETTING, True), "")
    return sa.or_(here == "", table.c.asterisk == here, sa.and_(here == FIRST, table.c.asterisk == ""))
