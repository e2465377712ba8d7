"""Ringline: a self-hosted programmable voice platform on Asterisk and Kamailio."""

__version__ = "0.1.0"
