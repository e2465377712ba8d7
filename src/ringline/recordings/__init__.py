"""Recordings of calls and conferences: begun, ended, found again after a crash, kept and deleted."""
