"""How long and how hard to measure. Seconds, and calls a second."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """``full`` is what the goals are judged by; ``quick`` shows that the bench itself works."""

    name: str
    quiet_seconds: float
    """How long the machine is watched before anything starts."""
    warm_calls: int
    steady_rate: int
    """The rate at which set-up times and CPU per call are compared."""
    steady_seconds: float
    steady_rounds: int
    """Dialplan, Ringline and Ringline behind Kamailio take turns this often; a drift of the machine meets all."""
    probe_seconds: float
    start_share: float
    """Where the search for the highest rate begins: share of what the CPU of the steady runs promises."""
    max_probes: int
    """Probes of the search for the highest rate, for each way of handling a call."""
    search_seconds: float
    """What is not found by then is reported as it stands."""
    place_rate: int
    place_seconds: float
    pair_rate: int
    """The rate at which connected calls are compared: each is two."""
    held_calls: int
    held_rate: int
    held_settle_seconds: float
    ask_seconds: int
    """How long each kind of API request is asked."""
    stored_calls: int
    delivered_events: int
    """Webhooks: so many as fast as they go ..."""
    delivered_rate: int
    """... and then at this rate ..."""
    delivered_seconds: int
    """... for so long."""


FULL = Plan(
    name="full",
    quiet_seconds=5.0,
    warm_calls=200,
    steady_rate=50,
    steady_seconds=7.0,
    steady_rounds=2,
    probe_seconds=6.0,
    start_share=0.8,
    max_probes=9,
    search_seconds=135.0,
    place_rate=50,
    place_seconds=22.0,
    pair_rate=25,
    held_calls=500,
    held_rate=100,
    held_settle_seconds=3.0,
    ask_seconds=4,
    stored_calls=1_000_000,
    delivered_events=20_000,
    delivered_rate=500,
    delivered_seconds=8,
)

QUICK = Plan(
    name="quick",
    quiet_seconds=2.0,
    warm_calls=40,
    steady_rate=25,
    steady_seconds=3.0,
    steady_rounds=1,
    probe_seconds=2.0,
    start_share=0.35,
    max_probes=1,
    search_seconds=12.0,
    place_rate=25,
    place_seconds=4.0,
    pair_rate=10,
    held_calls=100,
    held_rate=50,
    held_settle_seconds=1.0,
    ask_seconds=1,
    stored_calls=20_000,
    delivered_events=1_000,
    delivered_rate=100,
    delivered_seconds=2,
)
