"""Deliveries: events on their way to endpoints, tried until they arrive or a day is over."""
