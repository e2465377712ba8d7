"""Texts in and out: SMS and MMS."""
