"""Groupcalls: several phones ring for one call, and the first to answer has it."""
