"""Requests to servers of customers, on behalf of their flows: one exchange at a time, or sent in the background."""
