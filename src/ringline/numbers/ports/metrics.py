"""What ports report of themselves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from ringline.metrics import registry

changes = Counter(
    "ringline_number_port_changes",
    "States that ports came into at their vendors; unknown: reports of ports that we do not have.",
    ["vendor", "status"],
    registry=registry,
)
numbers = Counter(
    "ringline_number_port_numbers",
    "Numbers of ports that were ported or failed.",
    ["result"],
    registry=registry,
)
open_ports = Gauge("ringline_number_ports_open", "Ports that have not ended.", ["status"], registry=registry)
