"""Queues: callers who wait, in order, for an agent who is free."""
