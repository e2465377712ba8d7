"""A strict Telnyx on loopback: refuses what its API v2 would refuse, charges, signs its webhooks, fails on demand.

Written from the vendor's public documentation (developers.telnyx.com); it shares nothing with ``ringline.vendors``.
Every field of a request is checked against what is documented: an unknown one is refused, so that a misspelt one is
found.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vendors.telnyx_rules import (
    ADDRESS,
    DOCUMENT,
    E164,
    EMERGENCY,
    FEATURES,
    IDEMPOTENCY_KEY,
    MESSAGE,
    MESSAGING,
    ORDER,
    PHONE_NUMBER,
    PORT,
    PORT_PATCH,
    SEARCH_FILTERS,
    SHORT,
    VOICE,
    Refusal,
    Seen,
    filters_of,
    invalid,
    not_found,
    one_of,
)

API_KEY = "KEY0190000000000000000000000_strictlocaltelnyx"
CONNECTION = "1494404757140276705"
PROFILE = "400174e9-9b1a-4f5c-8c3e-5f6f2f7c9a10"
PORT_STATES = {
    "draft",
    "in-process",
    "submitted",
    "exception",
    "foc-date-confirmed",
    "ported",
    "cancelled",
    "cancel-pending",
}

FaultKind = Literal[
    "busy", "error", "drop", "error_after", "cut_after", "drop_after", "slow_after", "garbage_after"
]


@dataclass
class Fault:
    """What is to go wrong with the next requests that match."""

    method: str
    path: re.Pattern[str]
    kind: FaultKind
    times: int = 1
    seconds: float = 0.2


@dataclass
class Available:
    """A number in the inventory."""

    number: str
    country: str
    national: str
    kind: str = "local"
    features: tuple[str, ...] = ("sms", "mms", "voice", "fax", "emergency")
    state: str = "CA"
    city: str = "SAN FRANCISCO"


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


Handler = Callable[[Seen, dict[str, str]], Awaitable[tuple[int, Any]]]


@dataclass
class TelnyxServer:
    """The state of an account and of the world around it. ``charges`` is what was paid for, a number each time."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    hook_url: str = "https://ringline.example/hooks/telnyx"
    """Where the messaging profile and the notification settings point."""
    funds: bool = True
    instant: bool = True
    """Orders are done within the request; else ``settle`` does it."""
    hook_before_answer: bool = False
    hook_twice: bool = False
    deliver: bool = False
    """Whether webhooks are sent (in the background); they are in ``hooks`` in any case."""
    list_lag: bool = False
    """Lists do not show yet what was made; ``list_lag = False`` ends that."""
    available: dict[str, Available] = field(default_factory=dict)
    searched: set[str] = field(default_factory=set)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    addresses: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    ports: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[bytes, Any]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    charges: list[str] = field(default_factory=list)
    texted: list[dict[str, Any]] = field(default_factory=list)
    hooks: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    connection: dict[str, Any] = field(
        default_factory=lambda: {"id": CONNECTION, "record_type": "ip_connection", "active": True}
    )
    profile_enabled: bool = True
    hook_version: str = "2"
    _serial: int = 1293384261075731499
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for number, city in (
            ("+14155550100", "SAN FRANCISCO"),
            ("+14155550101", "SAN FRANCISCO"),
            ("+12135550123", "LOS ANGELES"),
        ):
            self.stock(Available(number, "US", number[2:], city=city))
        self.stock(Available("+12125550177", "US", "2125550177", state="NY", city="NEW YORK"))
        self.stock(Available("+18005550199", "US", "8005550199", kind="toll_free", state="", city=""))
        self.stock(
            Available("+493055501234", "DE", "3055501234", features=("voice",), state="", city="BERLIN")
        )

    # -- what tests say --

    @property
    def public_key(self) -> str:
        return base64.b64encode(self.key.public_key().public_bytes_raw()).decode()

    def stock(self, number: Available) -> None:
        self.available[number.number] = number

    def fail(self, method: str, path: str, kind: FaultKind, times: int = 1, seconds: float = 0.2) -> None:
        """The next ``times`` requests of this method whose path matches go wrong."""
        self.faults.append(Fault(method, re.compile(path), kind, times, seconds))

    def asked(self, method: str, path: str) -> list[Seen]:
        """The requests that came for a path (regular expression)."""
        return [seen for seen in self.seen if seen.method == method and re.fullmatch(path, seen.path)]

    def settle(self, order_id: str, *, failed: bool = False) -> None:
        """A pending order is done, or fails."""
        order = self.orders[order_id]
        order["status"] = "failure" if failed else "success"
        order["updated_at"] = now()
        for entry in order["phone_numbers"]:
            entry["status"] = order["status"]
            held = next(row for row in self.numbers.values() if row["phone_number"] == entry["phone_number"])
            held["status"] = "purchase-failed" if failed else "active"
            if failed:
                self.charges.remove(entry["phone_number"])
        self._hook("number_order.complete", {key: order[key] for key in order if not key.startswith("_")})

    def text_in(
        self, source: str, destination: str, text: str, media: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """A handset texts a number of the account."""
        payload = {
            "id": str(uuid4()),
            "record_type": "message",
            "direction": "inbound",
            "type": "MMS" if media else "SMS",
            "messaging_profile_id": PROFILE,
            "from": {"phone_number": source, "carrier": "T-MOBILE USA, INC.", "line_type": "Wireless"},
            "to": [
                {
                    "phone_number": destination,
                    "carrier": "Telnyx",
                    "line_type": "Wireless",
                    "status": "webhook_delivered",
                }
            ],
            "cc": [],
            "text": text,
            "media": [
                {"url": url, "content_type": kind, "size": 1, "hash_sha256": None} for url, kind in media
            ],
            "encoding": "GSM-7",
            "parts": 1,
            "tags": [],
            "cost": None,
            "errors": [],
            "received_at": now(),
            "sent_at": None,
            "completed_at": None,
            "valid_until": None,
            "webhook_url": None,
            "webhook_failover_url": None,
        }
        self._hook("message.received", payload)

    def text_status(self, message_id: str, status: str, *errors: tuple[str, str]) -> None:
        """A text goes on; the end of one is told as ``message.finalized``."""
        message = self.messages[message_id]
        message["to"][0]["status"] = status
        message["errors"] = [{"code": code, "title": title} for code, title in errors]
        self._hook(
            "message.sent" if status == "sent" else "message.finalized", message, message["webhook_url"]
        )

    def port_status(self, order_id: str, value: str, *details: tuple[str, str]) -> None:
        """A porting order goes on. One that is ported brings its numbers."""
        order = self.ports[order_id]
        assert value in PORT_STATES
        order["status"] = {"value": value, "details": [{"code": c, "description": d} for c, d in details]}
        if value in {"foc-date-confirmed", "ported"}:
            order["activation_settings"]["foc_datetime_actual"] = "2026-12-01T15:00:00Z"
        if value == "ported":
            for entry in order["phone_numbers"]:
                self._hold(entry["phone_number"], order["customer_reference"], None, None)
        payload = {
            key: order[key]
            for key in ("id", "customer_reference", "status", "support_key", "updated_at", "webhook_url")
        }
        self._hook("porting_order.status_changed", payload, order["webhook_url"])

    def signed(self, body: bytes, at: float | None = None) -> dict[str, str]:
        """The headers of a webhook with this body."""
        stamp = str(int(time.time() if at is None else at))
        signature = base64.b64encode(self.key.sign(stamp.encode() + b"|" + body)).decode()
        return {
            "Content-Type": "application/json",
            "Telnyx-Signature-Ed25519": signature,
            "Telnyx-Timestamp": stamp,
            "User-Agent": "telnyx-webhooks",
        }

    async def post_hook(self, hook: dict[str, Any]) -> int:
        """Deliver a webhook now; the status that it was answered with."""
        body = json.dumps(hook["body"], separators=(",", ":")).encode()
        async with (
            aiohttp.ClientSession() as session,
            session.post(hook["url"], data=body, headers=self.signed(body)) as response,
        ):
            await response.read()
            return response.status

    async def drain(self) -> None:
        """Until all webhooks are delivered."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- requests --

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        path = request.path
        seen = Seen(request.method, path, list(request.query.items()), dict(request.headers), None)
        self.seen.append(seen)
        fault = next(
            (f for f in self.faults if f.times and f.method == seen.method and f.path.fullmatch(path)), None
        )
        if fault is not None:
            fault.times -= 1
            if fault.kind == "busy":
                body = {"errors": [{"code": "10011", "title": "Too many requests", "detail": "Slow down."}]}
                return web.json_response(body, status=429, headers={"Retry-After": str(fault.seconds)})
            if fault.kind == "error":
                return web.json_response(
                    {"errors": [{"code": "10007", "title": "Unexpected error"}]}, status=500
                )
            if fault.kind == "drop":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
        try:
            self._check_head(request, raw)
            if raw:
                try:
                    seen.body = json.loads(raw)
                except ValueError:
                    raise Refusal(400, "10023", "Invalid JSON", "The supplied JSON is invalid.") from None
            status, answer = await self._replayed(seen, raw)
        except Refusal as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        return await self._answer(request, status, answer, fault)

    async def _answer(
        self, request: web.Request, status: int, answer: Any, fault: Fault | None
    ) -> web.StreamResponse:
        kind = fault.kind if fault is not None else ""
        if kind == "error_after":
            return web.json_response({"errors": [{"code": "10007", "title": "Unexpected error"}]}, status=500)
        if kind == "garbage_after":
            return web.Response(body=b"<html>gateway</html>", content_type="text/html")
        if kind == "slow_after" and fault is not None:
            await asyncio.sleep(fault.seconds)
        body = json.dumps(answer).encode()
        if kind in {"cut_after", "drop_after"}:
            assert request.transport is not None
            if kind == "cut_after":
                response = web.StreamResponse(status=status, headers={"Content-Length": str(len(body))})
                response.content_type = "application/json"
                await response.prepare(request)
                await response.write(body[: len(body) // 2])
            request.transport.close()
            return web.Response()
        return web.json_response(answer, status=status)

    def _check_head(self, request: web.Request, raw: bytes) -> None:
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            raise Refusal(
                401,
                "10009",
                "Authentication failed",
                f"Could not understand {request.headers.get('Authorization')}",
            )
        if raw and request.content_type != "application/json":
            raise Refusal(415, "10014", "Unsupported Media Type", "Only application/json is supported.")
        if request.method in {"GET", "DELETE"} and raw:
            raise Refusal(400, "10015", "Bad Request", "There must be no body.")

    async def _replayed(self, seen: Seen, raw: bytes) -> tuple[int, Any]:
        """Only ``POST /messages`` has idempotency keys, and only successes are kept."""
        key = seen.headers.get("Idempotency-Key", "")
        if not key or (seen.method, seen.path) != ("POST", "/v2/messages"):
            return await self._dispatch(seen)
        if not IDEMPOTENCY_KEY.fullmatch(key):
            raise Refusal(400, "10015", "Bad Request", "Invalid Idempotency-Key.")
        if known := self.keys.get((seen.path, key)):
            if known[0] != raw:
                raise Refusal(422, "10015", "Bad Request", "The Idempotency-Key was used with another body.")
            status, answer = known[1]
            return status, answer
        done = await self._dispatch(seen)
        if not any(f.kind == "error_after" and f.path.fullmatch(seen.path) for f in self.faults):
            self.keys[(seen.path, key)] = (raw, done)
        return done

    async def _dispatch(self, seen: Seen) -> tuple[int, Any]:
        for method, pattern, handler in self._routes():
            match = re.fullmatch(pattern, seen.path)
            if match and method == seen.method:
                return await handler(seen, match.groupdict())
        raise not_found()

    def _routes(self) -> list[tuple[str, str, Handler]]:
        number = r"/v2/phone_numbers/(?P<id>[^/]+)"
        port = r"/v2/porting_orders/(?P<id>[^/]+)"
        return [
            ("GET", "/v2/balance", self._balance),
            ("GET", r"/v2/connections/(?P<id>[^/]+)", self._get_connection),
            ("GET", r"/v2/messaging_profiles/(?P<id>[^/]+)", self._get_profile),
            ("GET", "/v2/available_phone_numbers", self._search),
            ("POST", "/v2/number_orders", self._order),
            ("GET", "/v2/number_orders", self._list_orders),
            ("GET", r"/v2/number_orders/(?P<id>[^/]+)", self._get_order),
            ("GET", "/v2/phone_numbers", self._list_numbers),
            ("GET", number, self._get_number),
            ("PATCH", number, self._patch_number),
            ("DELETE", number, self._delete_number),
            ("PATCH", f"{number}/voice", self._patch_voice),
            ("GET", f"{number}/messaging", self._get_messaging),
            ("PATCH", f"{number}/messaging", self._patch_messaging),
            ("POST", f"{number}/actions/enable_emergency", self._emergency),
            ("GET", "/v2/addresses", self._list_addresses),
            ("POST", "/v2/addresses", self._make_address),
            ("POST", "/v2/messages", self._send),
            ("GET", r"/v2/messages/(?P<id>[^/]+)", self._get_message),
            ("POST", "/v2/documents", self._upload),
            ("POST", "/v2/porting_orders", self._port),
            ("GET", "/v2/porting_orders", self._list_ports),
            ("GET", port, self._get_port),
            ("PATCH", port, self._patch_port),
            ("DELETE", port, self._delete_port),
            ("GET", f"{port}/allowed_foc_windows", self._windows),
            ("POST", f"{port}/actions/confirm", self._confirm),
            ("POST", f"{port}/actions/cancel", self._cancel),
        ]

    async def _balance(self, _seen: Seen, _path: dict[str, str]) -> tuple[int, Any]:
        return 200, {
            "data": {
                "record_type": "balance",
                "balance": "300.00",
                "currency": "USD",
                "credit_limit": "100.00",
            }
        }

    async def _get_connection(self, _seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        if path["id"] != CONNECTION:
            raise not_found()
        return 200, {"data": self.connection}

    async def _get_profile(self, _seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        if path["id"] != PROFILE:
            raise not_found()
        data = {
            "id": PROFILE,
            "record_type": "messaging_profile",
            "enabled": self.profile_enabled,
            "webhook_url": self.hook_url,
            "webhook_api_version": self.hook_version,
        }
        return 200, {"data": data}

    async def _search(self, seen: Seen, _path: dict[str, str]) -> tuple[int, Any]:
        filters = filters_of(seen, SEARCH_FILTERS, "features")
        country = filters.get("country_code")
        if country is None:
            raise Refusal(
                400, "10004", "Missing required parameter", "country_code is required", "filter[country_code]"
            )
        if country not in {"US", "CA"} and "best_effort" in filters:
            raise Refusal(400, "10015", "Bad Request", "best_effort is available in the USA and Canada only")
        features = set(filters["features"].split(",")) if "features" in filters else set()
        if not features <= FEATURES:
            raise Refusal(400, "10015", "Bad Request", "unknown feature", "filter[features]")
        if country not in {entry.country for entry in self.available.values()} | {"US", "CA", "DE"}:
            raise Refusal(400, "10031", "Unrecognized location", "There is no coverage in this country.")
        found = [
            entry
            for entry in self.available.values()
            if entry.country == country
            and features <= set(entry.features)
            and filters.get("phone_number_type", entry.kind) == entry.kind
            and filters.get("administrative_area", entry.state) == entry.state
            and filters.get("locality", entry.city).casefold() in entry.city.casefold()
            and filters.get("phone_number][contains", "") in entry.national
            and entry.national.startswith(filters.get("phone_number][starts_with", ""))
            and entry.number
            not in {row["phone_number"] for row in self.numbers.values() if row["status"] != "deleted"}
        ][: int(filters.get("limit", "100"))]
        self.searched |= {entry.number for entry in found}
        data = []
        for entry in found:
            where = [
                {"region_type": "country_code", "region_name": entry.country},
                {"region_type": "state", "region_name": entry.state},
                {"region_type": "rate_center", "region_name": entry.city},
            ]
            data.append(
                {
                    "record_type": "available_phone_number",
                    "phone_number": entry.number,
                    "vanity_format": None,
                    "best_effort": False,
                    "quickship": True,
                    "reservable": True,
                    "region_information": [each for each in where if each["region_name"]],
                    "cost_information": {
                        "upfront_cost": "1.00000",
                        "monthly_cost": "1.00000",
                        "currency": "USD",
                    },
                    "features": [{"name": name} for name in entry.features],
                }
            )
        return 200, {"data": data, "meta": {"total_results": len(data), "best_effort_results": 0}}

    async def _order(self, seen: Seen, _path: dict[str, str]) -> tuple[int, Any]:
        ORDER(seen.body, "")
        if not self.funds:
            raise Refusal(
                402, "20100", "Insufficient Funds", "You have insufficient funds to perform this action."
            )
        self._known(seen.body.get("connection_id"), CONNECTION, "/connection_id")
        self._known(seen.body.get("messaging_profile_id"), PROFILE, "/messaging_profile_id")
        wanted = [entry["phone_number"] for entry in seen.body["phone_numbers"]]
        held = {row["phone_number"] for row in self.numbers.values() if row["status"] != "deleted"}
        for index, number in enumerate(wanted):
            if number not in self.available or number in held:
                raise invalid("The phone number is not available.", f"/phone_numbers/{index}")
            if number not in self.searched:
                raise invalid("The phone number was not in a recent search.", f"/phone_numbers/{index}")
            if "messaging_profile_id" in seen.body and "sms" not in self.available[number].features:
                raise invalid("The phone number cannot send messages.", "/messaging_profile_id")
        self.searched -= set(wanted)
        status = "success" if self.instant else "pending"
        order = {
            "id": str(uuid4()),
            "record_type": "number_order",
            "phone_numbers_count": len(wanted),
            "connection_id": seen.body.get("connection_id"),
            "messaging_profile_id": seen.body.get("messaging_profile_id"),
            "billing_group_id": None,
            "phone_numbers": [
                {
                    "id": str(uuid4()),
                    "record_type": "number_order_phone_number",
                    "phone_number": number,
                    "regulatory_requirements": [],
                    "requirements_met": True,
                    "requirements_status": "approved",
                    "status": status,
                }
                for number in wanted
            ],
            "sub_number_orders_ids": [str(uuid4())],
            "status": status,
            "customer_reference": seen.body.get("customer_reference"),
            "requirements_met": True,
            "created_at": now(),
            "updated_at": now(),
        }
        self.orders[order["id"]] = order
        for number in wanted:
            self.charges.append(number)
            self._hold(
                number,
                seen.body.get("customer_reference"),
                seen.body.get("connection_id"),
                seen.body.get("messaging_profile_id"),
                active=self.instant,
            )
        if self.instant:
            self._hook("number_order.complete", dict(order))
            if self.hook_before_answer:
                await self.drain()
        return 200, {"data": order}

    async def _list_orders(self, seen: Seen, _path: dict[str, str]) -> tuple[int, Any]:
        checks = {
            "customer_reference": SHORT,
            "status": one_of("pending", "success", "failure"),
            "requirements_met": SHORT,
        }
        filters = filters_of(seen, checks)
        found = [
            row
            for row in self.orders.values()
            if row["customer_reference"] == filters.get("customer_reference")
        ]
        return 200, {"data": [] if self.list_lag else found, "meta": {"total_results": len(found)}}

    async def _get_order(self, _seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        return 200, {"data": _one(self.orders, path)}

    async def _list_numbers(self, seen: Seen, _path: dict[str, str]) -> tuple[int, Any]:
        checks = dict.fromkeys(
            ("phone_number", "customer_reference", "connection_id", "status", "tag"), SHORT
        )
        filters = filters_of(seen, checks)
        wanted = filters.get("phone_number", "").lstrip("+")
        if "phone_number" in filters and not re.fullmatch(r"\d{3,}", wanted):
            found = []
        else:
            found = [row for row in self.numbers.values() if wanted in row["phone_number"]]
        return 200, {"data": [] if self.list_lag else found, "meta": {"total_results": len(found)}}

    async def _get_number(self, _seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        return 200, {"data": self._number(path)}

    async def _patch_number(self, seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        held = self._number(path)
        PHONE_NUMBER(seen.body, "")
        self._known(seen.body.get("connection_id"), CONNECTION, "/connection_id")
        held |= seen.body
        return 200, {"data": held}

    async def _delete_number(self, _seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        held = self._number(path)
        if held.get("deletion_lock_enabled"):
            raise invalid("The number is locked against deletion.")
        held["status"] = "deleted"
        return 200, {"data": held}

    async def _patch_voice(self, seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        held = self._number(path)
        VOICE(seen.body, "")
        held["t38_fax_gateway_enabled"] = seen.body.get("media_features", {}).get(
            "t38_fax_gateway_enabled", False
        )
        return 200, {"data": {"id": held["id"], "record_type": "voice_settings", **seen.body}}

    async def _get_messaging(self, _seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        held = self._number(path)
        able = {"domestic_two_way": True, "international_inbound": False, "international_outbound": False}
        features = {name: able if name in held["_features"] else None for name in ("sms", "mms")}
        return 200, {"data": {"id": held["id"], "record_type": "messaging_settings", "features": features}}

    async def _patch_messaging(self, seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        held = self._number(path)
        MESSAGING(seen.body, "")
        wanted = seen.body.get("messaging_profile_id")
        if wanted and "sms" not in held["_features"]:
            raise invalid("The number is not capable of messaging.", "/messaging_profile_id")
        if wanted:
            self._known(wanted, PROFILE, "/messaging_profile_id")
        held["messaging_profile_id"] = wanted or None
        return 200, {
            "data": {"id": held["id"], "record_type": "messaging_settings", "messaging_profile_id": wanted}
        }

    async def _emergency(self, seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        held = self._number(path)
        EMERGENCY(seen.body, "")
        if seen.body["emergency_address_id"] not in self.addresses:
            raise invalid("The address does not exist.", "/emergency_address_id")
        if "emergency" not in held["_features"]:
            raise invalid("The number does not support emergency services.", "")
        held |= seen.body
        return 202, {
            "data": {
                "id": held["id"],
                "record_type": "voice_settings",
                "emergency": {**seen.body, "emergency_status": "provisioning"},
            }
        }

    async def _list_addresses(self, seen: Seen, _path: dict[str, str]) -> tuple[int, Any]:
        checks = {
            "customer_reference][eq": SHORT,
            "customer_reference][contains": SHORT,
            "used_as_emergency": SHORT,
        }
        filters = filters_of(seen, checks)
        wanted = filters.get("customer_reference][eq")
        found = [row for row in self.addresses.values() if wanted in {None, row.get("customer_reference")}]
        return 200, {"data": found, "meta": {"total_results": len(found)}}

    async def _make_address(self, seen: Seen, _path: dict[str, str]) -> tuple[int, Any]:
        ADDRESS(seen.body, "")
        if seen.body.get("validate_address", True) and "Nowhere" in seen.body["street_address"]:
            raise Refusal(
                422, "10015", "Bad Request", "The address could not be validated.", "/street_address"
            )
        address = {"id": str(uuid4().int)[:19], "record_type": "address", **seen.body}
        self.addresses[address["id"]] = address
        return 200, {"data": address}

    async def _send(self, seen: Seen, _path: dict[str, str]) -> tuple[int, Any]:
        MESSAGE(seen.body, "")
        body = seen.body
        if not E164.fullmatch(body["to"]):
            raise Refusal(
                400, "40310", "Invalid 'to' address", "The 'to' address is not an E.164 number.", "/to"
            )
        if "text" not in body and "media_urls" not in body:
            raise Refusal(400, "10004", "Missing required parameter", "text is required", "/text")
        if ("media_urls" in body) != (body.get("type") == "MMS") and "type" in body:
            raise Refusal(400, "10015", "Bad Request", "type and media_urls contradict each other", "/type")
        held = next((row for row in self.numbers.values() if row["phone_number"] == body.get("from")), None)
        if held is None or held["messaging_profile_id"] is None or held["status"] != "active":
            raise Refusal(
                400,
                "40305",
                "Invalid 'from' address",
                "The 'from' address is not of a messaging profile.",
                "/from",
            )
        if body["to"].endswith("0404"):
            raise Refusal(
                400,
                "40300",
                "Blocked due to STOP message",
                "Messages cannot be sent from this to that number.",
            )
        text = body.get("text", "")
        message = {
            "id": str(uuid4()),
            "record_type": "message",
            "direction": "outbound",
            "type": body.get("type", "SMS"),
            "messaging_profile_id": held["messaging_profile_id"],
            "from": {"phone_number": body["from"], "carrier": "Telnyx", "line_type": "Wireless"},
            "to": [{"phone_number": body["to"], "carrier": "", "line_type": "", "status": "queued"}],
            "cc": [],
            "text": text,
            "media": [
                {"url": url, "content_type": None, "sha256": None, "size": None}
                for url in body.get("media_urls", [])
            ],
            "parts": max(1, -(-len(text) // 153)) if len(text) > 160 else 1,
            "tags": [],
            "cost": None,
            "errors": [],
            "webhook_url": body.get("webhook_url") or self.hook_url,
            "webhook_failover_url": None,
            "received_at": now(),
            "sent_at": None,
            "completed_at": None,
        }
        self.messages[str(message["id"])] = message
        self.texted.append(message)
        return 200, {"data": message}

    async def _get_message(self, _seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        return 200, {"data": _one(self.messages, path)}

    async def _upload(self, seen: Seen, _path: dict[str, str]) -> tuple[int, Any]:
        DOCUMENT(seen.body, "")
        try:
            content = base64.b64decode(seen.body["file"], validate=True)
        except (KeyError, binascii.Error):
            raise invalid("file must be base64", "/file") from None
        if not content.startswith((b"%PDF", b"\x89PNG", b"\xff\xd8")):
            raise invalid("The file must be a PDF, PNG or JPEG.", "/file")
        document = {
            "id": str(uuid4()),
            "record_type": "document",
            "filename": seen.body.get("filename"),
            "status": "pending",
        }
        self.documents[document["id"]] = document
        return 200, {"data": document}

    async def _port(self, seen: Seen, _path: dict[str, str]) -> tuple[int, Any]:
        PORT(seen.body, "")
        busy = {
            entry["phone_number"]
            for order in self.ports.values()
            if order["status"]["value"] not in {"draft", "cancelled"}
            for entry in order["phone_numbers"]
        }
        groups: dict[str, list[str]] = {}
        for number in seen.body["phone_numbers"]:
            if number.endswith("9999"):
                raise invalid("The phone number is not portable.", "/phone_numbers")
            if number in busy:
                raise invalid("The phone number is in another order.", "/phone_numbers")
            groups.setdefault("toll_free" if number.startswith("+1800") else number[:2], []).append(number)
        made = []
        for numbers in groups.values():
            order: dict[str, Any] = {
                "id": str(uuid4()),
                "record_type": "porting_order",
                "customer_reference": seen.body.get("customer_reference"),
                "status": {"value": "draft", "details": []},
                "support_key": None,
                "phone_numbers": [
                    {"phone_number": number, "record_type": "porting_phone_number"} for number in numbers
                ],
                "end_user": {"admin": {}, "location": {}},
                "documents": {"loa": None, "invoice": None},
                "activation_settings": {"foc_datetime_requested": None, "foc_datetime_actual": None},
                "webhook_url": None,
                "created_at": now(),
                "updated_at": now(),
            }
            self.ports[order["id"]] = order
            made.append(order)
        return 201, {"data": made}

    async def _list_ports(self, seen: Seen, _path: dict[str, str]) -> tuple[int, Any]:
        filters = filters_of(
            seen,
            {"customer_reference": SHORT, "customer_group_reference": SHORT},
            extra=("include_phone_numbers",),
        )
        found = [
            row
            for row in self.ports.values()
            if row["customer_reference"] == filters.get("customer_reference")
        ]
        return 200, {"data": [] if self.list_lag else found, "meta": {"total_results": len(found)}}

    async def _get_port(self, _seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        return 200, {"data": _one(self.ports, path)}

    async def _patch_port(self, seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        order = _one(self.ports, path)
        PORT_PATCH(seen.body, "")
        for document in seen.body.get("documents", {}).values():
            if document not in self.documents:
                raise invalid("The document does not exist.", "/documents")
        if seen.body.get("misc", {}).get("type") == "full" and len(seen.body["misc"]) > 1:
            raise invalid("A full port has no other attributes.", "/misc")
        order |= {key: value for key, value in seen.body.items() if key != "activation_settings"}
        order["activation_settings"] |= seen.body.get("activation_settings", {})
        return 200, {"data": order}

    async def _delete_port(self, _seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        if _one(self.ports, path)["status"]["value"] != "draft":
            raise invalid("Only drafts can be deleted.")
        del self.ports[path["id"]]
        return 204, None

    async def _windows(self, _seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        _one(self.ports, path)
        first = datetime(2026, 12, 1, 15, tzinfo=UTC)
        days = [first + timedelta(days=day) for day in range(5)]
        return 200, {
            "data": [
                {
                    "record_type": "porting_order",
                    "started_at": f"{day:%Y-%m-%dT%H:%M:%SZ}",
                    "ended_at": f"{day + timedelta(hours=5):%Y-%m-%dT%H:%M:%SZ}",
                }
                for day in days
            ]
        }

    async def _confirm(self, seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        order = _one(self.ports, path)
        if seen.body is not None:
            raise invalid("There must be no body.")
        if order["status"]["value"] != "draft":
            raise invalid("The porting order was submitted already.")
        admin, location = order["end_user"]["admin"], order["end_user"]["location"]
        needed = {"entity_name", "auth_person_name", "account_number"} - set(admin)
        needed |= {"street_address", "locality", "postal_code"} - set(location)
        if not order["documents"].get("loa"):
            needed.add("loa")
        if needed:
            raise invalid(f"Requirements are missing: {', '.join(sorted(needed))}.", f"/{min(needed)}")
        order["status"] = {"value": "submitted", "details": []}
        order["support_key"] = "sr_10b316"
        return 200, {"data": order, "meta": {"phone_numbers_url": ""}}

    async def _cancel(self, _seen: Seen, path: dict[str, str]) -> tuple[int, Any]:
        order = _one(self.ports, path)
        if order["status"]["value"] not in {"submitted", "in-process", "exception", "foc-date-confirmed"}:
            raise invalid(f"A porting order that is {order['status']['value']} cannot be cancelled.")
        ended = "cancelled" if order["status"]["value"] in {"submitted", "exception"} else "cancel-pending"
        order["status"] = {"value": ended, "details": []}
        return 200, {"data": order}

    # -- the account --

    def _known(self, value: str | None, real: str, pointer: str) -> None:
        if value is not None and value != real:
            raise Refusal(
                422, "10017", "Associated resource does not exist", "The resource does not exist.", pointer
            )

    def _hold(
        self,
        number: str,
        reference: str | None,
        connection: str | None,
        profile: str | None,
        *,
        active: bool = True,
    ) -> None:
        self._serial += 1
        features = (
            self.available[number].features
            if number in self.available
            else ("voice", "sms", "mms", "emergency")
        )
        self.numbers[str(self._serial)] = {
            "id": str(self._serial),
            "record_type": "phone_number",
            "phone_number": number,
            "status": "active" if active else "purchase-pending",
            "customer_reference": reference,
            "connection_id": connection,
            "messaging_profile_id": profile,
            "t38_fax_gateway_enabled": False,
            "emergency_enabled": False,
            "emergency_address_id": None,
            "deletion_lock_enabled": False,
            "_features": features,
        }

    def _number(self, path: dict[str, str]) -> dict[str, Any]:
        held = self.numbers.get(path["id"])
        if held is None or held["status"] == "deleted":
            raise not_found()
        return held

    def _hook(self, event_type: str, payload: dict[str, Any], url: str | None = None) -> None:
        body = {
            "data": {
                "record_type": "event",
                "id": str(uuid4()),
                "event_type": event_type,
                "occurred_at": now(),
                "payload": json.loads(json.dumps(payload)),
            },
            "meta": {"attempt": 1, "delivered_to": url or self.hook_url},
        }
        hook = {"url": url or self.hook_url, "body": body}
        self.hooks.append(hook)
        for _ in range((2 if self.hook_twice else 1) if self.deliver else 0):
            task = asyncio.create_task(self._deliver(hook))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, hook: dict[str, Any]) -> None:
        """Until it is answered 2xx, as Telnyx does; three times here."""
        for _ in range(3):
            if 200 <= await self.post_hook(hook) < 300:
                return


def _one(rows: dict[str, dict[str, Any]], path: dict[str, str]) -> dict[str, Any]:
    row = rows.get(path["id"])
    if row is None:
        raise not_found()
    return row


@asynccontextmanager
async def telnyx_server(**options: Any) -> AsyncIterator[TelnyxServer]:
    """A server that listens on loopback; ``url`` is its base URL."""
    account = TelnyxServer(**options)
    app = web.Application(client_max_size=32 * 1024**2)
    app.router.add_route("*", "/{tail:.*}", account.handle)
    server = TestServer(app)
    await server.start_server()
    account.url = str(server.make_url("")).rstrip("/")
    try:
        yield account
    finally:
        for task in list(account._tasks):
            task.cancel()
        await server.close()
