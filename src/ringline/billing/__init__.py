"""Billing accounts and their balance."""
