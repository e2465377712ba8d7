"""What transfers report of themselves."""

from __future__ import annotations

from prometheus_client import Counter

from ringline.metrics import registry

referrals = Counter(
    "ringline_referrals",
    "REFER requests of telephones, by what became of them: blind, attended, declined.",
    ["outcome"],
    registry=registry,
)
