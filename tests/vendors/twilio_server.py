"""A local Twilio: what its public documentation promises, and none of its leniency.

It refuses what Twilio refuses, with Twilio's codes, and also what Twilio would overlook in silence (parameters that
do not exist, parameters in the wrong case, JSON where a form is wanted): a mistake of ours shall be seen. Faults are
put in front of or behind an operation, so that "it was done, but nobody learned of it" happens.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import HTTP
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from uuid import uuid4

import aiohttp
from aiohttp import web

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
CONTAINS = re.compile(r"[+]?[*%]*[0-9A-Za-z]{2,}[*%]*[$]?")
"""Wildcards at the ends only, two others at least."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


NUMBER_FIELDS = _names(
    """ApiVersion FriendlyName SmsApplicationSid SmsFallbackMethod SmsFallbackUrl SmsMethod SmsUrl StatusCallback
    StatusCallbackMethod VoiceApplicationSid VoiceCallerIdLookup VoiceFallbackMethod VoiceFallbackUrl VoiceMethod
    VoiceUrl EmergencyStatus EmergencyAddressSid TrunkSid IdentitySid AddressSid VoiceReceiveMode BundleSid"""
)
MESSAGE_FIELDS = _names(
    """To StatusCallback ApplicationSid MaxPrice ProvideFeedback Attempt ValidityPeriod ForceDelivery ContentRetention
    AddressRetention SmartEncoded PersistentAction TrafficType ShortenUrls ScheduleType SendAt SendAsMms
    ContentVariables RiskCheck From FallbackFrom MessagingServiceSid Body MediaUrl ContentSid"""
)
ADDRESS_FIELDS = _names(
    """CustomerName Street City Region PostalCode IsoCountry FriendlyName EmergencyEnabled AutoCorrectAddress
    StreetSecondary"""
)
AVAILABLE_FIELDS = _names(
    """AreaCode Contains SmsEnabled MmsEnabled VoiceEnabled ExcludeAllAddressRequired ExcludeLocalAddressRequired
    ExcludeForeignAddressRequired Beta NearNumber NearLatLong Distance InPostalCode InRegion InRateCenter InLata
    InLocality FaxEnabled PageSize Page PageToken"""
)
PAGING = frozenset({"PageSize", "Page", "PageToken"})
PORT_FIELDS = _names(
    """account_sid documents phone_numbers losing_carrier_information notification_emails target_port_in_date
    target_port_in_time_range_start target_port_in_time_range_end bundle_sid portability_advance_carrier
    auto_cancel_approval_numbers"""
)
CARRIER_FIELDS = _names(
    """customer_type customer_name account_number account_telephone_number address_sid address
    authorized_representative authorized_representative_email"""
)


def sid(prefix: str) -> str:
    """A resource's name: two letters and 32 hexadecimal digits."""
    return prefix + uuid4().hex


class Refusal(Exception):
    """Twilio's ``{code, message, more_info, status}``."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class Fault:
    """``429`` is answered in place of the operation; ``500``, ``cut`` and ``slow`` come after it was done; ``503``
    and ``drop`` in place of it, which nobody outside can tell from the former.
    """

    kind: str
    method: str
    path: str
    retry_after: str = ""
    seconds: float = 0.0
    times: int = 1


@dataclass
class Recorded:
    """A request as it came in."""

    method: str
    path: str
    query: list[tuple[str, str]]
    content_type: str
    authorization: str
    body: bytes

    @property
    def form(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body.decode(), keep_blank_values=True)


@dataclass
class Sale:
    """A number on sale."""

    number: str
    country: str = "US"
    kind: str = "Local"
    region: str = "CA"
    locality: str = "San Francisco"
    capabilities: Mapping[str, bool] = field(
        default_factory=lambda: {"voice": True, "SMS": True, "MMS": True}
    )
    wants: str = ""
    """``address`` or ``bundle``: what the country's law demands."""


class TwilioServer:
    """All of Twilio's hosts on one port, as the base URL setting has it."""

    def __init__(self) -> None:
        self.account_sid = sid("AC")
        self.auth_token = uuid4().hex
        self.trunk_sid = sid("TK")
        self.account_status = "active"
        self.origination = [("sip:edge.example.com:5060", True), ("sip:old.example.com", False)]
        self.on_sale: list[Sale] = []
        self.numbers: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, dict[str, Any]] = {}
        self.callbacks: dict[str, str] = {}
        self.addresses: dict[str, dict[str, Any]] = {}
        self.bundles: list[dict[str, Any]] = []
        self.documents: dict[str, bytes] = {}
        self.ports: dict[str, dict[str, Any]] = {}
        self.port_hook = ""
        self.not_portable: dict[str, str] = {}
        self.wants_pin = False
        self.too_late = False
        self.opted_out: set[str] = set()
        self.landlines: set[str] = set()
        self.refused: dict[str, tuple[int, int]] = {}
        self.media: dict[str, tuple[str, bytes]] = {}
        self.media_to = ""
        self.media_seen: list[str] = []
        self.unregister_looks = 0
        self.purchases: list[str] = []
        self.faults: list[Fault] = []
        self.requests: list[Recorded] = []
        self.early_callback = False
        self.callbacks_twice = False
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        app = web.Application(middlewares=[self._middleware], client_max_size=20 * 1024**2)
        account = f"/2010-04-01/Accounts/{self.account_sid}"
        app.add_routes(
            [
                web.get(f"{account}.json", self._account),
                web.get(account + "/AvailablePhoneNumbers/{country}/{kind}.json", self._available),
                web.get(f"{account}/IncomingPhoneNumbers.json", self._held),
                web.post(f"{account}/IncomingPhoneNumbers.json", self._buy),
                web.get(account + "/IncomingPhoneNumbers/{sid}.json", self._number),
                web.post(account + "/IncomingPhoneNumbers/{sid}.json", self._configure),
                web.delete(account + "/IncomingPhoneNumbers/{sid}.json", self._release),
                web.get(f"{account}/Addresses.json", self._list_addresses),
                web.post(f"{account}/Addresses.json", self._make_address),
                web.get(f"{account}/Messages.json", self._list_messages),
                web.post(f"{account}/Messages.json", self._send),
                web.get(account + "/Messages/{sid}.json", self._message),
                web.get(account + "/Messages/{sid}/Media/{medium}", self._medium),
                web.get("/storage/{medium}", self._storage),
                web.get("/v1/Trunks/{sid}", self._trunk),
                web.get("/v1/Trunks/{sid}/OriginationUrls", self._list_origination_urls),
                web.get("/v2/RegulatoryCompliance/Bundles", self._list_bundles),
                web.get("/v1/Porting/Portability/PhoneNumber/{number}", self._portability),
                web.post("/v1/Porting/Configuration/Webhook", self._port_webhook),
                web.post("/v1/Porting/PortIn", self._port),
                web.get("/v1/Porting/PortIn/PortInRequests", self._list_ports),
                web.get("/v1/Porting/PortIn/{sid}", self._port_of),
                web.delete("/v1/Porting/PortIn/{sid}", self._cancel_port),
                web.post("/v1/Documents", self._document),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # what Twilio does of its own accord

    def signature(self, url: str, form: list[tuple[str, str]]) -> str:
        """``X-Twilio-Signature``."""
        values: dict[str, set[str]] = {}
        for name, value in form:
            values.setdefault(name, set()).add(value)
        text = url + "".join(name + value for name in sorted(values) for value in sorted(values[name]))
        return base64.b64encode(
            hmac.new(self.auth_token.encode(), text.encode(), hashlib.sha1).digest()
        ).decode()

    async def call_hook(self, url: str, form: list[tuple[str, str]]) -> list[tuple[int, str, str]]:
        """Post a form as Twilio does; status, media type and body of each answer."""
        headers = {
            "X-Twilio-Signature": self.signature(url, form),
            "I-Twilio-Idempotency-Token": str(uuid4()),
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "User-Agent": "TwilioProxy/1.1",
        }
        return [
            await self._post(url, urlencode(form).encode(), headers) for _ in range(1 + self.callbacks_twice)
        ]

    async def call_json_hook(self, url: str, body: Mapping[str, Any]) -> tuple[int, str, str]:
        """Post JSON: its hash is in the URL, and the URL is what is signed."""
        raw = json.dumps(body).encode()
        url += ("&" if urlsplit(url).query else "?") + f"bodySHA256={hashlib.sha256(raw).hexdigest()}"
        headers = {"X-Twilio-Signature": self.signature(url, []), "Content-Type": "application/json"}
        return await self._post(url, raw, headers)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str, str]:
        assert self._session is not None
        async with self._session.post(url, data=body, headers=headers) as response:
            return response.status, response.content_type, await response.text()

    async def report(self, message_sid: str, status: str, error: int = 0) -> list[tuple[int, str, str]]:
        """A text goes on, and its status callback is called."""
        row = self.messages[message_sid]
        row |= {"status": status, "error_code": error or None}
        form = [
            ("SmsSid", message_sid),
            ("SmsStatus", status),
            ("MessageStatus", status),
            ("To", row["to"]),
            ("MessageSid", message_sid),
            ("AccountSid", self.account_sid),
            ("From", row["from"]),
            ("ApiVersion", "2010-04-01"),
        ]
        if error:
            form.append(("ErrorCode", str(error)))
        return await self.call_hook(self.callbacks[message_sid], form)

    async def receive(
        self, source: str, destination: str, body: str, media: Mapping[str, str] | None = None
    ) -> tuple[str, list[tuple[int, str, str]]]:
        """Somebody texts a number of ours: its ``SmsUrl`` is called; when that fails, its ``SmsFallbackUrl``."""
        number = next(row for row in self.numbers.values() if row["phone_number"] == destination)
        message_sid = sid("MM" if media else "SM")
        form = [
            ("ToCountry", "US"),
            ("ToState", ""),
            ("SmsMessageSid", message_sid),
            ("NumMedia", str(len(media or {}))),
            ("ToCity", ""),
            ("FromZip", "94107"),
            ("SmsSid", message_sid),
            ("FromState", "CA"),
            ("SmsStatus", "received"),
            ("FromCity", "SAN FRANCISCO"),
            ("Body", body),
            ("FromCountry", "US"),
            ("To", destination),
            ("ToZip", ""),
            ("NumSegments", "1"),
            ("MessageSid", message_sid),
            ("AccountSid", self.account_sid),
            ("From", source),
            ("ApiVersion", "2010-04-01"),
        ]
        for index, (url, kind) in enumerate((media or {}).items()):
            form += [(f"MediaUrl{index}", url), (f"MediaContentType{index}", kind)]
        answers = await self.call_hook(number["sms_url"], form)
        if answers[0][0] >= 500 and number["sms_fallback_url"]:
            form += [("ErrorCode", "11200"), ("ErrorUrl", number["sms_url"])]
            answers += await self.call_hook(number["sms_fallback_url"], form)
        return message_sid, answers

    # the frame of each operation

    @web.middleware
    async def _middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(
            Recorded(
                request.method,
                request.path,
                list(request.query.items()),
                request.content_type,
                request.headers.get("Authorization", ""),
                body,
            )
        )
        if request.path.startswith("/storage/"):
            return await handler(request)
        fault = self._fault(request)
        try:
            self._authenticate(request)
            if fault is not None and fault.kind == "429":
                raise Refusal(429, 20429, "Too Many Requests")
            if fault is not None and fault.kind == "503":
                return web.json_response({"code": 20503, "status": 503, "message": "Unavailable"}, status=503)
            if fault is not None and fault.kind == "drop":
                return await self._cut(request, b"")
            answer = await handler(request)
        except web.HTTPNotFound:
            return _refused(Refusal(404, 20404, f"The requested resource {request.path} was not found"))
        except web.HTTPMethodNotAllowed:
            return _refused(Refusal(405, 20004, "Method not allowed"))
        except Refusal as refusal:
            response = _refused(refusal)
            if fault is not None and fault.retry_after:
                response.headers["Retry-After"] = fault.retry_after
            return response
        if fault is None:
            return answer
        if fault.kind == "500":
            return web.json_response({"code": 20500, "status": 500, "message": "Internal error"}, status=500)
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            return answer
        assert isinstance(answer, web.Response) and isinstance(answer.body, bytes), fault.kind
        return await self._cut(request, answer.body)

    async def _cut(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Half an answer, and the connection is gone."""
        if body:
            response = web.StreamResponse(headers={"Content-Length": str(len(body))})
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.abort()
        raise asyncio.CancelledError

    def _fault(self, request: web.Request) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method == request.method and fault.path in request.path:
                fault.times -= 1
                return fault
        return None

    def _authenticate(self, request: web.Request) -> None:
        wanted = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {wanted}":
            raise Refusal(401, 20003, "Authenticate")

    async def _form(self, request: web.Request, allowed: frozenset[str]) -> list[tuple[str, str]]:
        if request.content_type != "application/x-www-form-urlencoded":
            raise Refusal(400, 20001, f"a form was wanted, not {request.content_type}")
        form = parse_qsl((await request.read()).decode(), keep_blank_values=True)
        _known({name for name, _ in form}, allowed)
        return form

    # numbers

    async def _account(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "sid": self.account_sid,
                "status": self.account_status,
                "type": "Full",
                "friendly_name": "Example Ltd.",
                "auth_token": self.auth_token,
            }
        )

    async def _trunk(self, request: web.Request) -> web.Response:
        if request.match_info["sid"] != self.trunk_sid:
            raise Refusal(404, 20404, "The requested resource was not found")
        return web.json_response({"sid": self.trunk_sid, "friendly_name": "edge"})

    async def _list_origination_urls(self, request: web.Request) -> web.Response:
        await self._trunk(request)
        _known(set(request.query), PAGING)
        rows = [
            {"sip_url": url, "enabled": enabled, "priority": 1, "weight": 1}
            for url, enabled in self.origination
        ]
        return web.json_response({"origination_urls": rows, "meta": {"key": "origination_urls"}})

    async def _available(self, request: web.Request) -> web.Response:
        country, kind, query = request.match_info["country"], request.match_info["kind"], request.query
        _known(set(query), AVAILABLE_FIELDS)
        of_country = [sale for sale in self.on_sale if sale.country == country and sale.kind == kind]
        if not of_country or not re.fullmatch("[A-Z]{2}", country):
            raise Refusal(404, 20404, f"The requested resource {request.path} was not found")
        contains = query.get("Contains", "")
        if "Contains" in query and (not 2 <= len(contains) <= 16 or CONTAINS.fullmatch(contains) is None):
            raise Refusal(400, 21401, "Invalid Contains")
        if ("InRegion" in query or "AreaCode" in query) and country not in {"US", "CA"}:
            raise Refusal(400, 20001, "InRegion and AreaCode are for US and CA")
        if not re.fullmatch("[A-Z]{2}", query.get("InRegion", "CA")):
            raise Refusal(400, 20001, "InRegion is an abbreviation")
        rows = []
        for sale in of_country:
            able = {name.lower() for name, yes in sale.capabilities.items() if yes}
            for name, capability in (("Voice", "voice"), ("Sms", "sms"), ("Mms", "mms"), ("Fax", "fax")):
                if query.get(f"{name}Enabled", "true") not in {"true", "false"}:
                    raise Refusal(400, 20001, f"{name}Enabled is true or false")
                if query.get(f"{name}Enabled") == "true" and capability not in able:
                    break
            else:
                if (
                    contains.strip("+*%$") in sale.number
                    and query.get("InRegion", sale.region) == sale.region
                ):
                    rows.append(
                        {
                            "friendly_name": sale.number,
                            "phone_number": sale.number,
                            "lata": None,
                            "locality": sale.locality,
                            "region": sale.region,
                            "postal_code": "94107",
                            "iso_country": sale.country,
                            "address_requirements": "any" if sale.wants == "address" else "none",
                            "beta": False,
                            "capabilities": dict(sale.capabilities),
                        }
                    )
        return web.json_response(
            {"available_phone_numbers": rows[: _page_size(request)], "uri": request.path}
        )

    async def _held(self, request: web.Request) -> web.Response:
        _known(set(request.query), PAGING | {"Beta", "FriendlyName", "PhoneNumber", "Origin"})
        part = request.query.get("PhoneNumber", "").replace("*", "[0-9]").replace("+", r"\+")
        rows = [row for row in self.numbers.values() if re.search(part, row["phone_number"])]
        name = request.query.get("FriendlyName")
        return self._list(
            request, "incoming_phone_numbers", [r for r in rows if name in {None, r["friendly_name"]}]
        )

    async def _buy(self, request: web.Request) -> web.Response:
        form = dict(await self._form(request, NUMBER_FIELDS | {"PhoneNumber", "AreaCode"}))
        number = form.get("PhoneNumber", "")
        if E164.fullmatch(number) is None:
            raise Refusal(400, 21421, f"{number} is not a valid number")
        sale = next((sale for sale in self.on_sale if sale.number == number), None)
        if sale is None:
            raise Refusal(400, 21422, f"{number} is not available")
        if sale.wants == "address" and form.get("AddressSid") not in self.addresses:
            raise Refusal(
                400, 21631, "Phone Number Requires an Address but the 'AddressSid' parameter was empty."
            )
        if sale.wants == "bundle" and form.get("BundleSid") not in {row["sid"] for row in self.bundles}:
            raise Refusal(400, 21649, "Bundle required: the 'BundleSid' parameter was empty.")
        row = {
            "sid": sid("PN"),
            "account_sid": self.account_sid,
            "phone_number": number,
            "friendly_name": number,
            "status": "in-use",
            "type": sale.kind.lower(),
            "capabilities": dict(sale.capabilities),
            "sms_url": "",
            "sms_method": "POST",
            "sms_fallback_url": "",
            "trunk_sid": None,
            "emergency_status": "Inactive",
            "emergency_address_sid": None,
            "emergency_address_status": "unregistered",
        }
        self._apply(row, form)
        self.on_sale.remove(sale)
        self.numbers[row["sid"]] = row
        self.purchases.append(number)
        return web.json_response(row, status=201)

    async def _number(self, request: web.Request) -> web.Response:
        row = self._own(self.numbers, request)
        if row["emergency_address_status"] == "pending-unregistration":
            self.unregister_looks -= 1
            if self.unregister_looks <= 0:
                row["emergency_address_status"] = "unregistered"
        return web.json_response(row)

    async def _configure(self, request: web.Request) -> web.Response:
        row = self._own(self.numbers, request)
        self._apply(row, dict(await self._form(request, NUMBER_FIELDS | {"AccountSid"})))
        return web.json_response(row)

    async def _release(self, request: web.Request) -> web.Response:
        row = self._own(self.numbers, request)
        if row["emergency_address_sid"]:
            raise Refusal(400, 21627, "The number has an emergency address")
        del self.numbers[row["sid"]]
        return web.Response(status=204)

    def _apply(self, row: dict[str, Any], form: Mapping[str, str]) -> None:
        for name in ("SmsUrl", "SmsFallbackUrl", "StatusCallback", "VoiceUrl"):
            if form.get(name) and not _good_url(form[name]):
                raise Refusal(400, 21502, f"{name} is not a valid URL")
        if form.get("SmsMethod", "POST") not in {"GET", "POST"}:
            raise Refusal(400, 21403, "SmsMethod is not valid")
        if len(form.get("FriendlyName", "")) > 64:
            raise Refusal(400, 20001, "FriendlyName has at most 64 characters")
        if form.get("TrunkSid") and form["TrunkSid"] != self.trunk_sid:
            raise Refusal(400, 20001, "TrunkSid does not exist")
        wanted = form.get("EmergencyAddressSid")
        if wanted == "" and row["emergency_address_sid"]:
            row |= {"emergency_address_sid": None, "emergency_address_status": "unregistered"}
            if self.unregister_looks:
                row["emergency_address_status"] = "pending-unregistration"
        elif wanted:
            if row["emergency_address_sid"] or row["emergency_address_status"] != "unregistered":
                raise Refusal(400, 21628, "The number has an emergency address")
            if not self.addresses.get(wanted, {}).get("emergency_enabled"):
                raise Refusal(400, 21628, "EmergencyAddressSid is no emergency address")
            row |= {"emergency_address_sid": wanted, "emergency_address_status": "registered"}
        names = {
            "FriendlyName": "friendly_name",
            "SmsUrl": "sms_url",
            "SmsMethod": "sms_method",
            "SmsFallbackUrl": "sms_fallback_url",
        }
        row |= {key: form[name] for name, key in names.items() if name in form}
        if "TrunkSid" in form:
            row["trunk_sid"] = form["TrunkSid"] or None

    async def _list_addresses(self, request: web.Request) -> web.Response:
        _known(
            set(request.query), PAGING | {"CustomerName", "FriendlyName", "EmergencyEnabled", "IsoCountry"}
        )
        query = request.query
        rows = [
            row
            for row in self.addresses.values()
            if query.get("FriendlyName", row["friendly_name"]) == row["friendly_name"]
            and query.get("IsoCountry", row["iso_country"]) == row["iso_country"]
            and query.get("EmergencyEnabled", str(row["emergency_enabled"]).lower())
            == str(row["emergency_enabled"]).lower()
        ]
        return self._list(request, "addresses", rows)

    async def _make_address(self, request: web.Request) -> web.Response:
        form = dict(await self._form(request, ADDRESS_FIELDS))
        for name in ("CustomerName", "Street", "City", "Region", "PostalCode", "IsoCountry"):
            if not form.get(name):
                raise Refusal(400, 20001, f"Missing required parameter {name}")
        emergency = form.get("EmergencyEnabled") == "true"
        if len(form.get("FriendlyName", "")) > (32 if emergency else 64):
            raise Refusal(400, 20001, "FriendlyName is too long")
        if form["Street"].startswith("Nowhere"):
            raise Refusal(400, 21628, "Address Validation Error")
        row = {
            "sid": sid("AD"),
            "customer_name": form["CustomerName"],
            "friendly_name": form.get("FriendlyName", ""),
            "iso_country": form["IsoCountry"],
            "emergency_enabled": emergency,
            "validated": emergency,
        }
        self.addresses[str(row["sid"])] = row
        return web.json_response(row, status=201)

    async def _list_bundles(self, request: web.Request) -> web.Response:
        _known(set(request.query), PAGING | {"Status", "IsoCountry", "NumberType", "FriendlyName"})
        wanted = {"status": "Status", "iso_country": "IsoCountry", "number_type": "NumberType"}
        rows = [
            row
            for row in self.bundles
            if all(request.query.get(q, row[k]) == row[k] for k, q in wanted.items())
        ]
        return web.json_response({"results": rows, "meta": {"next_page_url": None, "key": "results"}})

    # texts

    async def _send(self, request: web.Request) -> web.Response:
        pairs = await self._form(request, MESSAGE_FIELDS)
        form, media = dict(pairs), [value for name, value in pairs if name == "MediaUrl"]
        destination, source, body = form.get("To", ""), form.get("From", ""), form.get("Body", "")
        if E164.fullmatch(destination) is None:
            raise Refusal(400, 21211, f"The 'To' number {destination} is not a valid phone number.")
        if source not in {row["phone_number"] for row in self.numbers.values()}:
            raise Refusal(
                400, 21606, f"{source} is not a valid, message-capable Twilio phone number for this account"
            )
        if not body and not media:
            raise Refusal(400, 21619, "A text message body or media urls must be specified.")
        if len(body) > 1600:
            raise Refusal(400, 21617, "The concatenated message body exceeds the 1600 character limit.")
        if len(media) > 10:
            raise Refusal(400, 21623, "Number of media files exceeds allowed limit")
        if not all(_good_url(url) for url in media):
            raise Refusal(400, 21620, "Invalid media URL(s)")
        if "StatusCallback" in form and not _good_url(form["StatusCallback"]):
            raise Refusal(400, 21609, "The 'StatusCallback' URL is not a valid URL.")
        if destination in self.opted_out:
            raise Refusal(400, 21610, "Attempt to send to unsubscribed recipient")
        if destination in self.landlines:
            raise Refusal(400, 21614, "'To' number is not a valid mobile number")
        if destination in self.refused:
            status, code = self.refused[destination]
            raise Refusal(status, code, "Refused")
        row = self.keep(source, destination, body, len(media))
        self.callbacks[row["sid"]] = form.get("StatusCallback", "")
        answer = dict(row)
        if self.early_callback:
            await self.report(row["sid"], "sent")
        return web.json_response(answer, status=201)

    def keep(self, source: str, destination: str, body: str, media: int = 0) -> dict[str, Any]:
        """A text of ours among the account's."""
        now = format_datetime(datetime.now(UTC))
        row: dict[str, Any] = {
            "sid": sid("MM" if media else "SM"),
            "account_sid": self.account_sid,
            "from": source,
            "to": destination,
            "body": body,
            "direction": "outbound-api",
            "status": "queued",
            "num_segments": str(1 + len(body) // 161),
            "num_media": str(media),
            "error_code": None,
            "error_message": None,
            "date_created": now,
            "date_updated": now,
            "date_sent": None,
        }
        self.messages[row["sid"]] = row
        return row

    async def _message(self, request: web.Request) -> web.Response:
        return web.json_response(self._own(self.messages, request))

    async def _list_messages(self, request: web.Request) -> web.Response:
        query = request.query
        _known(set(query), PAGING | {"To", "From", "DateSent", "DateSent<", "DateSent>"})
        rows = [
            row
            for row in reversed(self.messages.values())
            if query.get("To", row["to"]) == row["to"] and query.get("From", row["from"]) == row["from"]
        ]
        return self._list(request, "messages", rows)

    async def _medium(self, request: web.Request) -> web.Response:
        if request.match_info["medium"] not in self.media:
            raise Refusal(404, 20404, "The requested resource was not found")
        raise web.HTTPTemporaryRedirect(self.media_to or f"/storage/{request.match_info['medium']}")

    async def _storage(self, request: web.Request) -> web.Response:
        self.media_seen.append(request.headers.get("Authorization", ""))
        kind, content = self.media[request.match_info["medium"]]
        return web.Response(body=content, content_type=kind)

    # ports

    async def _portability(self, request: web.Request) -> web.Response:
        _known(set(request.query), frozenset({"TargetAccountSid", "AddressSid"}))
        number = request.match_info["number"]
        why = self.not_portable.get(number)
        return web.json_response(
            {
                "phone_number": number,
                "portable": why is None,
                "not_portable_reason": why,
                "not_portable_reason_code": 22133 if why else None,
                "pin_and_account_number_required": self.wants_pin,
                "number_type": "LOCAL",
                "country": "US",
            }
        )

    async def _port_webhook(self, request: web.Request) -> web.Response:
        body = _json_body(request, await request.read())
        _known(set(body), frozenset({"port_in_target_url", "port_out_target_url", "notifications_of"}))
        if not _good_url(str(body.get("port_in_target_url"))):
            raise Refusal(400, 20001, "port_in_target_url is not a valid URL")
        self.port_hook = str(body["port_in_target_url"])
        return web.json_response(body, status=201)

    async def _document(self, request: web.Request) -> web.Response:
        if request.content_type != "multipart/form-data":
            raise Refusal(400, 20001, "multipart/form-data was wanted")
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        parts = {
            str(part.get_param("name", header="content-disposition")): part
            for part in BytesParser(policy=HTTP).parsebytes(head + await request.read()).iter_parts()
        }
        _known(set(parts), frozenset({"document_type", "friendly_name", "File"}))
        file = parts.get("File")
        if (
            file is None
            or not file.get_filename()
            or str(parts["document_type"].get_content()) != "utility_bill"
        ):
            raise Refusal(400, 20001, "document_type utility_bill and a File are wanted")
        document, content = sid("RD"), bytes(file.get_payload(decode=True) or b"")
        self.documents[document] = content
        kind = file.get_content_type() if content else ""
        return web.json_response(
            {"sid": document, "mime_type": kind, "document_type": "utility_bill"}, status=201
        )

    async def _port(self, request: web.Request) -> web.Response:
        body = _json_body(request, await request.read())
        _known(set(body), PORT_FIELDS)
        carrier = body.get("losing_carrier_information")
        if not isinstance(carrier, dict) or body.get("account_sid") != self.account_sid:
            raise Refusal(400, 22102, "account_sid and losing_carrier_information are wanted")
        _known(set(carrier), CARRIER_FIELDS)
        for name in ("customer_name", "authorized_representative", "authorized_representative_email"):
            if not carrier.get(name):
                raise Refusal(400, 22102, f"{name} is wanted")
        if carrier.get("customer_type") not in {"Business", "Individual"}:
            raise Refusal(400, 22102, "customer_type is Business or Individual")
        if set(carrier["address"]) - {"street_2"} != {"street", "city", "state", "zip", "country"}:
            raise Refusal(400, 22102, "address is not complete")
        if not body.get("documents") or not set(body["documents"]) <= set(self.documents):
            raise Refusal(400, 22172, "a utility bill is wanted")
        entries = body["phone_numbers"]
        for entry in entries:
            _known(set(entry), frozenset({"phone_number", "pin"}))
            if any(
                entry["phone_number"] == other["phone_number"] and row["port_in_request_status"] != "Canceled"
                for row in self.ports.values()
                for other in row["phone_numbers"]
            ):
                raise Refusal(400, 22137, "Port is already in progress with one of your Twilio accounts")
        row = {
            "port_in_request_sid": sid("KW"),
            "account_sid": self.account_sid,
            "port_in_request_status": "In review",
            "order_cancellation_reason": None,
            "signature_request_url": None,
            "target_port_in_date": body.get("target_port_in_date"),
            "documents": body["documents"],
            "losing_carrier_information": carrier,
            "phone_numbers": [
                {
                    "phone_number": entry["phone_number"],
                    "port_in_phone_number_sid": sid("PU"),
                    "port_in_phone_number_status": "In Review",
                    "portable": True,
                    "not_portability_reason": None,
                    "rejection_reason": None,
                    "port_date": None,
                }
                for entry in entries
            ],
        }
        self.ports[str(row["port_in_request_sid"])] = row
        return web.json_response(row, status=202)

    async def _list_ports(self, request: web.Request) -> web.Response:
        known = {"Token", "Size", "PortInRequestSid", "PortInRequestStatus", "CreatedBefore", "CreatedAfter"}
        _known(set(request.query), frozenset(known))
        size, start = int(request.query.get("Size", "20")), int(request.query.get("Token", "0"))
        if not 1 <= size <= 100:
            raise Refusal(400, 20001, "Size is 1 to 100")
        rows = [
            {
                "port_in_request_sid": row["port_in_request_sid"],
                "port_in_request_status": row["port_in_request_status"],
                "phone_numbers_requested": len(row["phone_numbers"]),
                "phone_numbers_ported": 0,
            }
            for row in self.ports.values()
        ]
        following = str(start + size) if len(rows) > start + size else None
        meta = {"next_token": following, "previous_token": None}
        return web.json_response({"port_in_requests": rows[start : start + size], "meta": meta})

    async def _port_of(self, request: web.Request) -> web.Response:
        return web.json_response(self._own(self.ports, request))

    async def _cancel_port(self, request: web.Request) -> web.Response:
        row = self._own(self.ports, request)
        if self.too_late:
            raise Refusal(400, 22145, "The port in request can no longer be canceled")
        row |= {"port_in_request_status": "Canceled"}
        return web.Response(status=204)

    # helpers

    def _own(self, kept: Mapping[str, dict[str, Any]], request: web.Request) -> dict[str, Any]:
        row = kept.get(request.match_info["sid"])
        if row is None:
            raise Refusal(404, 20404, f"The requested resource {request.path} was not found")
        return row

    def _list(self, request: web.Request, key: str, rows: list[dict[str, Any]]) -> web.Response:
        size, page = _page_size(request), int(request.query.get("Page", "0"))
        more = len(rows) > (page + 1) * size
        query = {**request.query, "Page": str(page + 1), "PageToken": "PT"}
        following = f"{request.path}?{urlencode(query, quote_via=quote)}" if more else None
        body = {key: rows[page * size : (page + 1) * size], "page": page, "page_size": size}
        return web.json_response({**body, "next_page_uri": following})


def _page_size(request: web.Request) -> int:
    size = int(request.query.get("PageSize", "50"))
    if not 1 <= size <= 1000:
        raise Refusal(400, 20001, "PageSize is 1 to 1000")
    return size


def _known(given: set[str], allowed: frozenset[str]) -> None:
    unknown = given - allowed
    if unknown:
        raise Refusal(400, 20001, f"unknown parameters: {', '.join(sorted(unknown))}")


def _json_body(request: web.Request, raw: bytes) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise Refusal(400, 20001, "JSON was wanted")
    body = without_nulls(json.loads(raw))
    assert isinstance(body, dict)
    return body


def without_nulls(value: Any) -> Any:
    """JSON as Twilio reads it: what is null was not said."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _good_url(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and "_" not in (parts.hostname or "")


def _refused(refusal: Refusal) -> web.Response:
    body = {
        "code": refusal.code,
        "message": refusal.message,
        "more_info": f"https://www.twilio.com/docs/errors/{refusal.code}",
        "status": refusal.status,
    }
    return web.json_response(body, status=refusal.status)
