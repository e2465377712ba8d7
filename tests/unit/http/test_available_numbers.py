"""``GET /v1.0/available_numbers`` and its older spelling, with vendors made for the test."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from tests.unit.http.conftest import Client, Serve

from ringline.clock import VirtualClock
from ringline.numbers.available import regions, service
from ringline.numbers.available.http import available_routes
from ringline.numbers.available.service import AvailableNumberService
from ringline.numbers.available.taken import TakenNumbers
from ringline.vendors.base import Vendor
from ringline.vendors.errors import VendorError, VendorMisconfigured, VendorUnavailable
from ringline.vendors.models import Capability, Offer, Search
from ringline.vendors.registry import Vendors
from ringline.vendors.virtual import VirtualVendor

AGENT = {"Authorization": "Bearer agent"}
NEW = "/v1.0/available_numbers"
OLD = "/v1.0/number_availables"


def offer(number: str, **changes: Any) -> Offer:
    features = ("voice", "sms", "mms", "fax", "emergency")
    return Offer(
        **{
            "number": number,
            "country": "US",
            "kind": "local",
            "region": "CA",
            "city": "San Francisco",
            "postal_code": "94103",
            "features": features,
            **changes,
        }
    )


class Shop(Vendor):
    """Has what it is told to have."""

    name: ClassVar[str] = "shop"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.SEARCH})

    def __init__(self, name: str, *offers: Offer) -> None:
        self.name = name  # type: ignore[misc]  # several of them in one test
        self.offers = list(offers)
        self.asked: list[Search] = []
        self.fault: Exception | None = None
        self.seconds = 0.0

    async def search(self, wanted: Search) -> list[Offer]:
        self.asked.append(wanted)
        await asyncio.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        return self.offers[: wanted.limit]


class World:
    def __init__(self) -> None:
        self.first = Shop("first", offer("+15551234567"), offer("+15551234568", city="Los Angeles"))
        self.second = Shop("second", offer("+15551234568"), offer("+12182558711", region="MN", city=""))
        self.ours: set[str] = set()
        self.taken = TakenNumbers()
        self.clock = VirtualClock()
        vendors = Vendors([self.first, self.second, VirtualVendor(self.taken)])
        self.service = AvailableNumberService(vendors, lambda number: number in self.ours, self.clock)
        self.client: Client

    async def get(self, path: str, **query: Any) -> tuple[int, Any]:
        return await self.client.ask("GET", path, params=query, headers=AGENT)

    async def numbers(self, **query: Any) -> list[str]:
        status, answer = await self.get(NEW, **{"country_code": "US", **query})
        assert status == 200, answer
        return [row["number"] for row in answer["result"]]


@pytest.fixture
async def world(serve: Serve) -> World:
    world = World()
    world.client = await serve(*available_routes(world.service))
    return world


async def test_the_shape_of_the_seed_page(world: World) -> None:
    status, answer = await world.get(NEW, country_code="US", page_size=5)
    assert status == 200
    assert answer["result"][2] == {
        "number": "+12182558711",
        "country": "US",
        "region": "MN",
        "postal_code": "94103",
        "features": ["emergency", "fax", "voice", "sms", "mms"],
    }
    assert list(answer) == ["result"]
    assert list(answer["result"][0]) == ["number", "country", "region", "postal_code", "features"]


async def test_the_older_shape(world: World) -> None:
    status, answer = await world.get(OLD, country="US", type="local")
    assert status == 200
    assert answer["result"][:2] == [
        {
            "number": number,
            "country": "US",
            "type": "local",
            "region": "California",
            "city": city,
        }
        for number, city in (("+15551234567", "San Francisco"), ("+15551234568", "Los Angeles"))
    ]


async def test_virtual_numbers(world: World) -> None:
    world.taken.add(100_000_001)
    status, answer = await world.get(NEW, type="virtual", page_size=2)
    assert (status, answer) == (
        200,
        {
            "result": [
                {"number": number, "country": "", "region": "", "postal_code": "", "features": []}
                for number in ("+899100000002", "+899100000003")
            ]
        },
    )
    status, answer = await world.get(OLD, type="virtual", country="US", contains="1234*5", page_size=1)
    assert answer["result"] == [
        {"number": "+899100123405", "country": "", "type": "virtual", "region": "", "city": ""}
    ]
    _, first = await world.get(NEW, type="virtual", order="random")
    _, second = await world.get(NEW, type="virtual", order="random")
    assert first != second
    assert len(first["result"]) == 100
    assert world.first.asked == []


async def test_what_is_asked_of_vendors(world: World) -> None:
    await world.numbers(
        country_code="ca", type="toll_free", region="ontario", contains="55*1", features="sms, VOICE,sms"
    )
    (asked,) = world.first.asked
    assert asked == Search("CA", "toll_free", "ON", "55*1", ("sms", "voice"), limit=120)
    assert world.second.asked == [asked]
    await world.numbers(country_code="DE", region="  Bayern ", type="normal")
    assert (world.first.asked[1].region, world.first.asked[1].kind) == ("Bayern", None)
    await world.get(OLD, country_code="US", country="us")
    assert world.first.asked[2].country == "US"


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ({}, "country_code", "is required"),
        ({"type": "local"}, "country_code", "unless `type` is `virtual`"),
        ({"country_code": ""}, "country_code", "is required"),
        ({"country_code": "USA"}, "country_code", "two letters"),
        ({"country_code": "XX"}, "country_code", "two letters"),
        ({"country_code": "US' OR 1=1"}, "country_code", "at most"),
        ({"country_code": "Ü!"}, "country_code", "two letters"),
        ({"country_code": "US", "country": "DE"}, "country", "one of them"),
        ({"country_code": "US", "type": "mobil"}, "type", "'mobile'"),
        ({"country_code": "US", "region": "BY"}, "region", "`California`"),
        ({"country_code": "CA", "region": "tx"}, "region", "`Ontario`"),
        ({"country_code": "DE", "region": "a\r\nb"}, "region", "name or letters"),
        ({"country_code": "DE", "region": "x" * 101}, "region", "at most 100"),
        ({"country_code": "US", "contains": "12a"}, "contains", "`*` for any one digit"),
        ({"country_code": "US", "contains": "+1"}, "contains", "digits"),
        ({"country_code": "US", "contains": "\u0661\u0662"}, "contains", "digits"),
        ({"country_code": "US", "contains": "1" * 16}, "contains", "at most 15"),
        ({"country_code": "US", "features": "voice,teleport"}, "features", "`sms`"),
        ({"country_code": "US", "page_size": 0}, "page_size", "at least 1"),
        ({"country_code": "US", "page_size": 1001}, "page_size", "at most 1000"),
        ({"country_code": "US", "page_size": "many"}, "page_size", "whole number"),
        ({"country_code": "US", "order": "backwards"}, "order", "'random'"),
        ({"type": "virtual", "features": "voice"}, "features", "virtual numbers"),
        ({"type": "virtual", "region": "CA"}, "region", "virtual numbers"),
        ({"type": "virtual", "contains": "1" * 13}, "contains", "12 digits"),
    ],
)
async def test_bad_questions(world: World, query: dict[str, Any], field: str, says: str) -> None:
    for path in (NEW, OLD):
        status, answer = await world.get(path, **query)
        assert status == 400, answer
        error = answer["error"]
        assert error["details"][0]["field"] == field
        assert says in error["message"]
        assert f"`{field}`" in error["message"]
    assert world.first.asked == []


async def test_merged_in_order_once_without_ours(world: World) -> None:
    assert await world.numbers() == ["+15551234567", "+15551234568", "+12182558711"]
    world.ours.add("+15551234567")
    assert await world.numbers() == ["+15551234568", "+12182558711"]
    assert await world.numbers(page_size=1) == ["+15551234568"]


@pytest.mark.parametrize("fault", [VendorUnavailable("first cannot be reached"), RuntimeError("a bug")])
async def test_a_vendor_that_fails_does_not_spoil_the_others(world: World, fault: Exception) -> None:
    world.first.fault = fault
    assert await world.numbers() == ["+15551234568", "+12182558711"]


async def test_all_fail(world: World) -> None:
    world.first.fault = VendorUnavailable("first cannot be reached")
    world.second.fault = VendorMisconfigured("second: our credentials are wrong")
    status, answer = await world.get(NEW, country_code="US")
    assert (status, answer["error"]["reason"]) == (503, "NUMBER_VENDOR_UNAVAILABLE")
    assert "first cannot be reached" in answer["error"]["message"]
    world.first.fault = None  # what failed is not remembered
    assert await world.numbers() == ["+15551234567", "+15551234568"]
    assert (await world.get(NEW, type="virtual"))[0] == 200


async def test_a_slow_vendor_is_passed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SEARCH_SECONDS", 0.2)
    world.first.seconds = 30.0
    assert await world.numbers() == ["+15551234568", "+12182558711"]


async def test_the_same_question_is_asked_of_vendors_once(world: World) -> None:
    world.first.seconds = 0.1
    answers = await asyncio.gather(*(world.numbers() for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert len(world.first.asked) == 1
    await world.numbers(contains="5")
    assert len(world.first.asked) == 2
    await world.clock.sleep(service.KEPT_SECONDS + 1)
    await world.numbers()
    assert len(world.first.asked) == 3


async def test_a_customer_who_asks_too_much(world: World) -> None:
    for pattern in range(service.BURST):
        assert (await world.get(NEW, country_code="US", contains=str(pattern)))[0] == 200
    assert (await world.get(NEW, country_code="US", contains="0"))[0] == 200  # nobody is asked: it is known
    status, answer = await world.get(NEW, country_code="US", contains="999")
    assert (status, answer["error"]["details"]) == (429, [{"retry_after": 1}])
    assert (await world.get(NEW, type="virtual", contains="999"))[0] == 200
    assert len(world.first.asked) == service.BURST
    await world.clock.sleep(1)
    assert (await world.get(NEW, country_code="US", contains="999"))[0] == 200


async def test_no_vendor_at_all(serve: Serve) -> None:
    alone = AvailableNumberService(Vendors([]), lambda _: False, VirtualClock())
    client = await serve(*available_routes(alone))
    status, answer = await client.ask("GET", NEW, params={"country_code": "US"}, headers=AGENT)
    assert status == 503
    assert "no vendor" in answer["error"]["message"]


async def test_only_with_a_credential(world: World) -> None:
    status, _ = await world.client.ask("GET", NEW, params={"country_code": "US"})
    assert status == 401


def test_regions() -> None:
    assert len(regions.NAMES["US"]) == 52
    assert len(regions.NAMES["CA"]) == 13
    assert regions.code("US", "district of columbia") == "DC"
    assert regions.code("US", "tx") == "TX"
    assert regions.code("DE", "Bayern") == "Bayern"
    assert regions.code("US", "San Francisco") == "San Francisco"
    with pytest.raises(ValueError, match="state of US"):
        regions.code("US", "ZZ")
    assert regions.name("US", "CA") == "California"
    assert regions.name("CA", "QC") == "Quebec"
    assert regions.name("DE", "Bayern") == "Bayern"
    assert issubclass(VendorUnavailable, VendorError)
