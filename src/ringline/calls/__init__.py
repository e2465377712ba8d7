"""Calls: records and their state machine, legs, originating, hanging up."""
