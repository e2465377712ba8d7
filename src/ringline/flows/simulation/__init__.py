"""Flows tried without a telephone: on a simulated leg, in virtual time, with a trace that people can read."""
