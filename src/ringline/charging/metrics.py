"""What is counted of charging."""

from __future__ import annotations

from prometheus_client import Counter

from ringline.metrics import registry

settled = Counter("ringline_charging_settled_total", "Calls whose cost was settled.", registry=registry)
not_settled = Counter(
    "ringline_charging_not_settled_total",
    "Calls that the ledger refused; they are tried again, and somebody has to look.",
    registry=registry,
)
holds_refused = Counter(
    "ringline_charging_holds_refused_total",
    "Holds of calls that an account did not pay for in full.",
    registry=registry,
)
cut_off = Counter("ringline_charging_cut_off_total", "Calls ended because money ran out.", registry=registry)
