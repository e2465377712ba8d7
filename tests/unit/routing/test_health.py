"""What metrics say of providers, and what the command line says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from prometheus_client import generate_latest

from ringline import telemetry
from ringline.metrics import registry
from ringline.routing.cli import _condition
from ringline.routing.health import Health, Registration
from ringline.routing.models import Provider

IDS = {name: uuid4() for name in ("good", "dead", "unasked", "account")}


def provider(name: str, **fields: Any) -> Provider:
    return Provider(
        id=IDS[name], key=1, name=name, hostname="x.example", tm_create=datetime.now(UTC), **fields
    )


def shown() -> set[str]:
    lines = generate_latest(registry).decode().splitlines()
    found = {line for line in lines if line.startswith("ringline_provider_")}
    for name, row_id in IDS.items():
        found = {
            line.replace(f'provider="{name}",provider_id="{row_id}"', f'provider="{name}"') for line in found
        }
    return found


def test_each_provider_has_its_gauges_until_it_is_gone() -> None:
    account = {"username": "a", "password": "b", "registration": True}
    telemetry.read_providers(
        [
            (provider("good"), Health("up", latency_ms=12)),
            (provider("dead"), Health("down", failovers=3)),
            (provider("unasked", health_check=False), Health()),
            (provider("account", **account), Health(registration=Registration("registered"))),
        ]
    )
    found = shown()
    assert {
        'ringline_provider_up{provider="good"} 1.0',
        'ringline_provider_latency_seconds{provider="good"} 0.012',
        'ringline_provider_up{provider="dead"} 0.0',
        'ringline_provider_failovers{provider="dead"} 3.0',
        'ringline_provider_registered{provider="account"} 1.0',
    } <= found
    assert not any('up{provider="unasked"' in line or 'registered{provider="good"' in line for line in found)
    telemetry.read_providers([])
    assert shown() == set()


def test_providers_of_one_name_are_told_apart() -> None:
    twins = [replace(provider("good"), id=uuid4()) for _ in range(2)]
    telemetry.read_providers([(twins[0], Health("up")), (twins[1], Health("down"))])
    values = [line.rpartition(" ")[2] for line in shown() if line.startswith("ringline_provider_up")]
    telemetry.read_providers([])
    assert sorted(values) == ["0.0", "1.0"]


def test_a_line_says_how_a_provider_is() -> None:
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert _condition(Health("down", since)) == "down since 01-02 03:04:05"
    refused = Health(registration=Registration("unregistered", "403"))
    assert _condition(refused) == "unknown, unregistered (403)"
