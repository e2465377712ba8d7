"""The ban table as Kamailio's RPC shows it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ringline.errors import InvalidArgument, NotFound
from ringline.routing.bans import Bans
from ringline.routing.kamailio import KamailioRefused

NOW = int(time.time())


class Rpc:
    """Kamailio's tables, as far as they are asked for here."""

    def __init__(self, **banned: str) -> None:
        self.banned = {name.replace("_", "."): value for name, value in banned.items()}
        self.asked: list[tuple[str, ...]] = []

    async def call(self, method: str, *params: Any) -> Any:
        self.asked.append((method, *map(str, params)))
        if method == "htable.dump":
            return [{"entry": 1, "slot": [{"name": k, "value": v} for k, v in self.banned.items()]}]
        if method == "htable.delete" and params[0] != "banned":
            raise KamailioRefused("Unable to delete key")
        if method == "htable.delete":
            del self.banned[params[1]]
        return None


def bans(rpc: Rpc) -> Bans:
    return Bans(rpc)  # type: ignore[arg-type]


async def test_the_list_leaves_out_what_is_over_or_unreadable() -> None:
    rpc = Rpc(
        **{
            "192_0_2_1": f"{NOW + 7200},proven,password",
            "192_0_2_2": f"{NOW + 3600},unproven,scanner",
            "192_0_2_3": f"{NOW - 5},proven,password",
            "192_0_2_4": "what",
        }
    )
    found = await bans(rpc).all()
    assert [(ban.address, ban.reason, ban.proven) for ban in found] == [
        ("192.0.2.2", "scanner", False),
        ("192.0.2.1", "password", True),
    ]


async def test_a_ban_by_hand_has_an_end() -> None:
    rpc = Rpc()
    ban = await bans(rpc).add(" 192.0.2.9 ", 60)
    assert (ban.address, ban.reason, ban.proven) == ("192.0.2.9", "operator", True)
    assert rpc.asked[0][:3] == ("htable.sets", "banned", "192.0.2.9")
    assert rpc.asked[1] == ("htable.setex", "banned", "192.0.2.9", "60")


@pytest.mark.parametrize("address", ["", "host.test", "192.0.2.0/24", "1.2.3", "192.0.2.1; DROP"])
async def test_what_is_no_address_is_refused(address: str) -> None:
    rpc = Rpc()
    with pytest.raises(InvalidArgument, match="is not an IP address"):
        await bans(rpc).add(address, 60)
    with pytest.raises(InvalidArgument, match="is not an IP address"):
        await bans(rpc).clear(address)
    assert rpc.asked == []


async def test_lifting_forgets_what_led_to_it() -> None:
    rpc = Rpc(**{"192_0_2_1": f"{NOW + 7200},proven,password"})
    await bans(rpc).clear("192.0.2.1")
    assert {asked[1] for asked in rpc.asked if asked[0] == "htable.delete"} > {"banned", "failures"}
    with pytest.raises(NotFound, match="is not banned"):
        await bans(rpc).clear("192.0.2.1")


async def test_a_ban_that_is_lifted_is_told() -> None:
    lifted = await bans(Rpc(**{"192_0_2_1": f"{NOW + 7200},proven,password"})).clear("192.0.2.1")
    assert (lifted.address, lifted.reason, lifted.proven) == ("192.0.2.1", "password", True)
