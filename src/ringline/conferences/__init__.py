"""Conferences: rooms where any number of calls hear each other, and the calls in them."""
