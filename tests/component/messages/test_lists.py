"""Lists of texts: filtered, leafed through without losing or repeating one, with the targets in their order."""

from __future__ import annotations

from typing import Any

import pytest

from ringline.messages.models import MessageAnswer, MessageQuery
from ringline.vendors.events import TextArrived

from .conftest import World

FIRST, SECOND = "+491701234567", "+491701234568"


async def every(world: World, customer: Any, **query: Any) -> list[MessageAnswer]:
    """All pages, two rows each."""
    found: list[MessageAnswer] = []
    token = ""
    while True:
        asked = MessageQuery.model_validate({"page_size": 2, "page_token": token, **query})
        page = await world.room.service.page(customer, asked)
        found += page.result
        token = page.next_page_token
        if not token:
            return found


async def test_lists_are_newest_first_filtered_and_whole(world: World) -> None:
    customer = await world.customer()
    number, other = await world.number(customer), await world.number(customer)
    for index in range(3):
        await world.text(customer, number, SECOND, FIRST, text=f"both {index}")
    await world.text(customer, other, FIRST, text="from the other")
    await world.room.reports.arrived("fake", TextArrived("e", "r", FIRST, number, "an answer"))
    await world.turn()
    shown = await every(world, customer)
    texts = ["an answer", "from the other", "both 2", "both 1", "both 0"]
    assert [one.text for one in shown] == texts
    assert [target.destination.target for target in shown[2].targets] == [SECOND, FIRST]
    one = await world.one(customer, shown[2].id)
    assert shown[2] == one, "a message in a list is what it is alone"
    for query, expected in {
        (("direction", "inbound"),): ["an answer"],
        (("direction", "outbound"),): texts[1:],
        (("status", "delivered"),): ["an answer"],
        (("status", "failed"),): [],
        (("status", "failed"), ("direction", "inbound")): [],
        (("source", FIRST),): ["an answer"],
        (("source", other),): ["from the other"],
        (("destination", FIRST),): texts[1:],
        (("destination", SECOND),): texts[2:],
        (("destination", FIRST), ("source", other)): ["from the other"],
        (("destination", number),): ["an answer"],
        (("destination", "+15550000000"),): [],
    }.items():
        assert [one.text for one in await every(world, customer, **dict(query))] == expected, query
    assert not await every(world, await world.customer())


@pytest.mark.parametrize("filters", [{}, {"destination": FIRST}], ids=["all", "by destination"])
async def test_a_deleted_message_is_in_no_list(world: World, filters: dict[str, str]) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    message = await world.text(customer, number, FIRST)
    await world.turn()
    assert len(await every(world, customer, **filters)) == 1
    await world.room.service.delete(customer, message.id)
    assert not await every(world, customer, **filters)
