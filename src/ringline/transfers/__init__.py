"""Transfers: a party of a conversation is replaced by somebody else."""
