"""What calls cost: held when they start, extended while they last, settled to the second when they end.

Decisions are made in memory, at once; what is held and settled is written in batches behind them (``accounts``), and
the database has the last word.
"""
