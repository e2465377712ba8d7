"""Which registrations Kamailio is told to begin, renew and end."""

from __future__ import annotations

from typing import Any

from ringline.routing.kamailio import KamailioRefused, KamailioRpc
from ringline.routing.registrations import Registrations

ROW = {
    "l_uuid": "contact",
    "l_username": "alice",
    "l_domain": "carrier.example",
    "r_domain": "carrier.example",
    "realm": "",
    "auth_username": "alice",
    "auth_password": "secret",
    "auth_ha1": "",
    "auth_proxy": "sip:carrier.example:5060",
    "expires": 3600,
}


class Kamailio(KamailioRpc):
    """It keeps records as the uac module does, and shows what is empty as ``none``."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9/rpc", "secret")
        self.stored: dict[str, dict[str, Any]] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, ...]] = []

    async def call(self, method: str, *params: str | int) -> Any:
        if method == "uac.reg_dump":
            return [{name: value or "none" for name, value in row.items()} for row in self.records.values()]
        self.asked.append((method, *map(str, params)))
        contact = str(params[-1])
        if method == "uac.reg_refresh":
            self.records[contact] = self.stored[contact]
        elif method == "uac.reg_remove":
            del self.records[contact]
        elif method == "uac.reg_register" and contact == "refused":
            raise KamailioRefused("not now")
        return None


async def test_only_what_differs_is_told() -> None:
    kamailio = Kamailio()
    registrations = Registrations(kamailio)
    kamailio.stored = {"contact": ROW, "refused": {**ROW, "l_uuid": "refused"}}
    await registrations.follow(kamailio.stored.values())
    begun = [
        ("uac.reg_refresh", "contact"),
        ("uac.reg_register", "l_uuid", "contact"),
        ("uac.reg_refresh", "refused"),
        # its own timer does that some seconds later
        ("uac.reg_register", "l_uuid", "refused"),
    ]
    assert kamailio.asked == begun
    await registrations.follow(kamailio.stored.values())
    assert kamailio.asked == begun

    kamailio.asked.clear()
    kamailio.stored = {"contact": {**ROW, "auth_password": "", "auth_ha1": "0123", "realm": "x"}}
    await registrations.follow(kamailio.stored.values())
    assert kamailio.asked == [
        ("uac.reg_unregister", "l_uuid", "refused"),
        ("uac.reg_refresh", "contact"),
        ("uac.reg_register", "l_uuid", "contact"),
        ("uac.reg_remove", "refused"),
    ]
    kamailio.asked.clear()
    await registrations.follow(kamailio.stored.values())
    assert kamailio.asked == []
