"""Whatever happens in whatever order, a text is sent once at most, and its fate is told in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringline.messages.sending import Patience
from ringline.vendors.errors import VendorBusy, VendorError, VendorRefused, VendorUnavailable, VendorUncertain
from ringline.vendors.events import TextChanged
from ringline.vendors.models import Sent

from .conftest import Lost, World

HANDSET = "+491701234567"
PATIENCE = Patience()

OUTCOMES: dict[str, VendorError | Lost | None] = {
    "works": None,
    "away": VendorUnavailable("away"),
    "busy": VendorBusy("too often", retry_after=2.0),
    "refused": VendorRefused("no"),
    "500 before": VendorUncertain("500"),
    "500 after": Lost(VendorUncertain("500")),
    "cut off after": Lost(VendorUncertain("cut off")),
    "late": Lost(TimeoutError()),
}
STEPS = st.sampled_from(
    [
        "turn",
        "wait",
        "wait long",
        "die",
        "die while handing",
        "sent",
        "delivered",
        "failed",
        "delivered again",
    ]
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    outcomes=st.lists(st.sampled_from(sorted(OUTCOMES)), max_size=4),
    tells=st.booleans(),
    steps=st.lists(STEPS, max_size=10),
)
async def test_a_text_is_sent_once_at_most(
    worlds: Callable[..., World], outcomes: list[str], tells: bool, steps: list[str]
) -> None:
    world = worlds()
    carrier = world.carrier  # it asserts that no text comes twice
    carrier.plan = [OUTCOMES[name] for name in outcomes]
    carrier.tells = tells
    customer = await world.customer()
    number = await world.number(customer)
    message = await world.text(customer, number, HANDSET)
    said: list[str] = []
    for step in steps:
        match step:
            case "turn":
                await world.turn()
            case "wait":
                await world.turn(PATIENCE.look + 1)
            case "wait long":
                await world.turn(PATIENCE.unknown + 1)
            case "die":
                await world.another().sending.take_over()
            case "die while handing":
                await world.room.sending.turn()
                tasks = list(world.room.sending._busy.values())
                await asyncio.sleep(0.002 * len(said))
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await world.another().sending.take_over()
            case _ if carrier.sent:
                state = step.partition(" ")[0]
                said.append(state)
                [text] = carrier.sent.values()
                sent = Sent(state, f"ref-{text.id}")  # type: ignore[arg-type]
                await world.room.reports.changed("fake", TextChanged(f"{len(said)}", text.id, HANDSET, sent))
    for _ in range(20):
        await world.turn(PATIENCE.unknown + 1)
    [target] = (await world.one(customer, message.id)).targets
    assert target.status != "sending", "its fate is never told"
    final = [state for state in said if state != "sent"]
    if final:
        assert target.status == final[0]
    elif carrier.sent:
        assert (target.status, target.reason) in [("sent", ""), ("failed", "unknown_outcome")]
        assert target.status == "sent" or not tells
    else:
        assert target.status == "failed"
        assert "refused" in outcomes or not tells
