"""Endpoints: where customers want events sent, and which."""
