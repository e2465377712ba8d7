"""Months of numbers: a month after the 31st of January is the 28th of February, and then the 31st of March."""

from __future__ import annotations

import calendar
from datetime import datetime


def month_after(moment: datetime, day: int) -> datetime:
    """The same time in the next month, on this ``day`` or the last one that the month has."""
    year, month = divmod(moment.year * 12 + moment.month, 12)
    month += 1
    return moment.replace(year=year, month=month, day=min(day, calendar.monthrange(year, month)[1]))
