"""Telephone numbers: what a customer may be called at and call from."""
