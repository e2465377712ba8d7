"""What an address turns into when it is called, and how the caller is shown there."""

from __future__ import annotations

import ipaddress
from typing import Any
from uuid import uuid4

import pytest

from ringline.calls.call import Call
from ringline.calls.destinations import Destinations, Phones, RingMethod, Route, check
from ringline.calls.ordering import Order, Party, check_size
from ringline.calls.states import Direction
from ringline.errors import InvalidArgument, NotFound
from ringline.sip.address import Address
from tests.unit.groupcalls.table import DOMAIN, FOREIGN, OWN, SOURCE, Table, tel


@pytest.fixture
async def table() -> Table:
    return Table()


def plan(table: Table, destination: Address, source: Address = SOURCE, anonymous: Any = "auto") -> Any:
    return table.ordering.plan(table.customer, source, destination, "destinations[3]", anonymous)  # type: ignore[arg-type]


class TestForm:
    @pytest.mark.parametrize(
        ("kind", "target"),
        [
            ("tel", "+15559876543"),
            ("sip", "alice@example.com"),
            ("extension", "test11"),
            ("extension", str(uuid4())),
            ("endpoint", "test11@test"),
            ("agent", str(uuid4())),
        ],
    )
    def test_what_can_be_called(self, kind: Any, target: str) -> None:
        check(Address(type=kind, target=target), "x")

    @pytest.mark.parametrize(
        ("kind", "target", "says"),
        [
            ("tel", "555-123", "E.164"),
            ("sip", "alice", "SIP address"),
            ("extension", "", "extension"),
            ("extension", "a b", "extension"),
            ("extension", "test11@", "extension"),
            ("extension", "test11@te st", "extension"),
            ("extension", "-x", "extension"),
            ("agent", "bob", "UUID"),
            ("conference", str(uuid4()), "'conference'"),
            ("ai", str(uuid4()), "'ai'"),
            ("", "x", "''"),
        ],
    )
    def test_what_cannot(self, kind: Any, target: str, says: str) -> None:
        with pytest.raises(InvalidArgument) as raised:
            check(Address(type=kind, target=target), "destinations[3]")
        assert says in raised.value.message
        assert raised.value.message.startswith("destinations[3].")


class TestRoutes:
    async def test_a_number_goes_to_a_provider_and_a_virtual_one_stays_here(self, table: Table) -> None:
        order = plan(table, tel(1))
        assert order.route == Route(f"sip:{tel(1).target}@{DOMAIN}", telephone=True)
        order = plan(table, Address(type="tel", target="+899123456789"))
        assert order.route == Route(f"sip:+899123456789@{DOMAIN}")

    async def test_a_sip_address_goes_to_its_host(self, table: Table) -> None:
        order = plan(table, Address(type="sip", target="sip:alice@example.com:5070;transport=tcp"))
        assert order.route == Route("sip:alice@example.com:5070", "tcp", outside=True)
        assert order.route.variables() == {"PJSIP_HEADER(add,X-Ringline-Transport)": "tcp"}

    @pytest.mark.parametrize("target", ["test11", "test11@test", f"test11@test.{DOMAIN}", "TEST11_ID"])
    async def test_an_extension_is_reached_in_its_realm(self, table: Table, target: str) -> None:
        target = target.replace("TEST11_ID", str(table.extensions[0].id))
        party = plan(table, Address(type="endpoint", target=target))
        assert isinstance(party, Party)
        (order,) = party.orders
        assert order.route == Route(f"sip:test11@test.{DOMAIN}")

    async def test_each_kind_of_phone_is_a_leg(self, table: Table) -> None:
        phone = Address(type="extension", target="test11")
        uri, extension = f"sip:test11@test.{DOMAIN}", table.extensions[0].id
        table.kinds[extension] = frozenset({"webrtc"})
        (order,) = plan(table, phone).orders
        assert order.route == Route(uri, endpoint="webrtc")
        assert order.route.channel == f"PJSIP/webrtc/{uri}"
        assert order.route.variables() == {"PJSIP_HEADER(add,X-Ringline-Media)": "webrtc"}
        table.kinds[extension] = frozenset({"webrtc", "kamailio"})
        party = plan(table, phone)
        assert [one.route.endpoint for one in party.orders] == ["kamailio", "webrtc"]
        assert party.orders[0].route.variables() == {}
        # one after another means: first all phones of the extension, then the next
        turns = plan(table, table.agent(phone, tel(1), ring_method="linear"))
        both, after = turns.orders
        assert (both.ring_method, both.destination, len(both.orders)) == (RingMethod.RING_ALL, phone, 2)
        assert after.destination == tel(1)
        check_size([turns])

    @pytest.mark.parametrize(
        "target", ["nobody", "nobody@test", "test11@other", f"other@other.{DOMAIN}", "other", "FOREIGN_ID"]
    )
    async def test_unknown_and_foreign_extensions_are_not_found_alike(
        self, table: Table, target: str
    ) -> None:
        target = target.replace("FOREIGN_ID", str(table.extensions[2].id))
        with pytest.raises(NotFound) as raised:
            plan(table, Address(type="extension", target=target))
        assert raised.value.reason == "EXTENSION_NOT_FOUND"
        assert raised.value.message.startswith("destinations[3].target")

    @pytest.mark.parametrize(
        ("address", "allowed"),
        [
            ("10.0.0.1", False),
            ("127.0.0.1", False),
            ("10.9.0.1", True),
            ("8.8.8.8", True),
            ("0.0.0.0", False),
        ],
    )
    async def test_an_address_that_is_not_public(self, table: Table, address: str, allowed: bool) -> None:
        destinations = Destinations(
            sip_domain=DOMAIN, allowed_networks=[ipaddress.IPv4Network("10.9.0.0/16")]
        )
        wanted = Address(type="sip", target=f"x@{address}")
        if allowed:
            assert isinstance(destinations.resolve(table.customer, wanted, "x"), Route)  # type: ignore[arg-type]
        else:
            with pytest.raises(InvalidArgument, match="not a public address"):
                destinations.resolve(table.customer, wanted, "x")  # type: ignore[arg-type]

    @pytest.mark.parametrize("host", [DOMAIN, DOMAIN.upper(), f"test.{DOMAIN}"])
    async def test_ourselves(self, table: Table, host: str) -> None:
        with pytest.raises(InvalidArgument, match="itself"):
            plan(table, Address(type="sip", target=f"x@{host}"))


class TestAgents:
    async def test_an_agent_rings_as_the_agent_wants(self, table: Table) -> None:
        phone = Address(type="extension", target="test11")
        for method, wanted in (("ringall", "ring_all"), ("linear", "linear"), ("", "ring_all")):
            party = plan(table, table.agent(tel(1), phone, ring_method=method))
            assert party.ring_method is RingMethod(wanted)
            assert [order.destination for order in party.orders] == [tel(1), phone]

    async def test_what_cannot_ring_is_left_out_while_something_can(self, table: Table) -> None:
        gone = Address(type="extension", target="nobody")
        other = table.agent(tel(2))
        party = plan(table, table.agent(gone, other, tel(1)))
        assert [order.destination for order in party.orders] == [tel(1)]
        with pytest.raises(NotFound, match="extension"):
            plan(table, table.agent(gone))
        with pytest.raises(InvalidArgument, match="no address"):
            plan(table, table.agent())

    async def test_unknown_and_foreign_agents_are_not_found_alike(self, table: Table) -> None:
        for agent in (table.agent(tel(1), customer=uuid4()), Address(type="agent", target=str(uuid4()))):
            with pytest.raises(NotFound) as raised:
                plan(table, agent)
            assert raised.value.reason == "AGENT_NOT_FOUND"

    async def test_too_many_phones(self, table: Table) -> None:
        agent = table.agent(*(tel(number) for number in range(60)))
        check_size([plan(table, agent)])
        with pytest.raises(InvalidArgument, match="120 phones"):
            check_size([plan(table, agent), plan(table, agent)])


class TestCaller:
    SIP = Address(type="sip", target="x@example.com")
    PHONE = Address(type="extension", target="test11")

    def caller(self, table: Table, destination: Address, source: Address) -> Any:
        made = plan(table, destination, source, "yes")
        return (made if isinstance(made, Order) else made.orders[0]).caller

    async def test_phones_and_hosts_are_shown_the_source_untouched(self, table: Table) -> None:
        for destination in (self.SIP, self.PHONE):
            caller = self.caller(table, destination, Address(type="tel", target="+15553331111", name="Bob"))
            assert (caller.number, caller.name, caller.hidden) == ("+15553331111", "Bob", False)
            caller = self.caller(table, destination, Address(type="sip", target="sip:alice@example.net"))
            assert (caller.number, caller.user) == ("", "alice")
            variables = caller.variables(uuid4(), uuid4())
            assert "alice" in variables["CONNECTEDLINE(num)"]
            assert "CONNECTEDLINE(pres)" not in variables

    async def test_a_number_of_another_customer_is_not_shown(self, table: Table) -> None:
        caller = self.caller(table, self.SIP, Address(type="tel", target=FOREIGN))
        assert (caller.number, caller.hidden) == ("", True)

    async def test_a_user_that_could_break_a_header_is_not_shown(self, table: Table) -> None:
        caller = self.caller(table, self.SIP, Address(type="sip", target='a"<x>@example.net'))
        assert (caller.number, caller.user, caller.hidden) == ("", "", True)

    @pytest.mark.parametrize(
        ("destination", "anonymous", "hidden"),
        [("sip", "auto", True), ("sip", "no", True), ("extension", "auto", True), ("extension", "no", False)],
    )
    async def test_who_withheld_the_number_is_not_given_away(
        self, table: Table, destination: str, anonymous: Any, hidden: bool
    ) -> None:
        parent: Call = table.call(Direction.INCOMING)
        parent.anonymous = True
        parent.source = Address(type="tel", target="+15553331111")
        address = self.SIP if destination == "sip" else self.PHONE
        (order,) = table.ordering.orders_from(parent, parent.source, [address], anonymous)
        assert order.caller.hidden is hidden
        (order,) = table.ordering.orders_from(parent, SOURCE, [address], anonymous)
        assert order.caller.hidden is False, "a number of one's own may be shown"


async def test_a_flow_leaves_out_what_cannot_be_called(table: Table) -> None:
    parent = table.call()
    gone = Address(type="extension", target="nobody")
    agent = table.agent(tel(1), tel(2))
    plans = table.ordering.plans_from(parent, SOURCE, [gone, agent, tel(3)], "auto")
    assert [type(one) for one in plans] == [Party, Order]
    orders = table.ordering.orders_from(parent, SOURCE, [gone, agent, tel(3)], "auto")
    assert [order.destination for order in orders] == [tel(1), tel(2), tel(3)]
    with pytest.raises(NotFound):
        table.ordering.plans_from(parent, SOURCE, [gone], "auto")


async def test_what_resolves_to_phones_is_no_single_route(table: Table) -> None:
    found = table.destinations.resolve(table.customer, Address(type="extension", target="x"), "d")  # type: ignore[arg-type]
    assert found == Phones(RingMethod.RING_ALL, (Address(type="extension", target="x"),))
    assert SOURCE.target == OWN
