"""HTTP to a vendor's API: what is asked again, what never is, and what an answer means.

A request that may have reached the vendor is repeated only where repeating is harmless; everything else comes back as
an error that says whether anything can have been done (``ringline.vendors.errors``):

* a GET does nothing: when it fails for good the answer is ``VendorUnavailable``, never ``VendorUncertain``;
* what may be repeated (``safe``) is repeated after a lost answer, a 5xx or a pause that the vendor asks for;
* what has a ``key`` that the vendor recognises is repeated after a lost answer, but not after a 5xx;
* everything else goes out once, on a connection of its own: one that was idle may be closed by the vendor in the
  moment in which we write, and nobody could tell whether it was read. Only what was not sent is tried again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import aiohttp
import orjson
import structlog

from ringline.vendors.errors import (
    VendorBusy,
    VendorError,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
    VendorUncertain,
    VendorUnknown,
)

log = structlog.get_logger(__name__)

CONNECT_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 20.0
MAX_ANSWER_BYTES: Final = 4 * 1024**2
MAX_COMPLAINT: Final = 300
"""Characters of a vendor's own words that are passed on."""
TRIES: Final = 3
MAX_PAUSE_SECONDS: Final = 10.0
"""A vendor that wants a longer pause is given up for this request; who asked tries again later."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the body as JSON (``None`` without one), and the status."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Complaint:
    """A vendor's own words for a refusal: its code, and a message that a customer may read.

    ``ours``: it is about our account or our settings, whatever the status says (no money, not verified).
    """

    code: str
    message: str
    ours: bool = False


ReadComplaint = Callable[[Any], Complaint]
"""From the JSON body of a 4xx (or ``None``) to what it says."""


@dataclass(frozen=True, slots=True)
class _Exchange:
    method: str
    url: str
    query: Any
    body: bytes | None
    data: aiohttp.FormData | None
    headers: dict[str, str]
    fresh: bool


@dataclass(slots=True)
class _Sent:
    """Whether anything of a request can have left this machine."""

    possibly: bool = False


class VendorClient:
    """The session with one vendor.

    ``base_url`` replaces scheme and host of every request where it is set (tests, proxies); paths stay. ``auth`` is
    a user and a password (RFC 7617); other credentials are a header.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str = "",
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        complaint: ReadComplaint,
        total_seconds: float = TOTAL_SECONDS,
        connections: int = 16,
    ) -> None:
        self.name = name
        self._base = base_url.rstrip("/")
        self._headers = {"User-Agent": "Ringline", "Accept": "application/json", **(headers or {})}
        if auth is not None:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(*auth)
        self._complaint = complaint
        self._total = total_seconds
        self._connections = connections
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._not_before = 0.0
        self._closed = False
        self._secrets = _secrets(self._headers, auth)

    async def close(self) -> None:
        """Close the sessions; what is asked afterwards is ``VendorUnavailable``. Idempotent."""
        self._closed = True
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str | int] | list[tuple[str, str]] | None = None,
        json: Any = None,
        form: Mapping[str, str] | list[tuple[str, str]] | None = None,
        data: aiohttp.FormData | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
        key: str = "",
    ) -> Answer:
        """One exchange; ``url`` is the vendor's own, whole one. ``safe`` is ``method == "GET"`` unless told.

        ``json``, ``form`` (url-encoded) and ``data`` (multipart, sent once) are bodies. ``key`` goes along as
        ``Idempotency-Key``, for operations of which the vendor says that it recognises a repetition by it. Raises
        ``VendorError``. A whole exchange with its repetitions takes at most about twice ``total_seconds``.
        """
        repeatable = method == "GET" if safe is None else safe
        sent = {**(headers or {})}
        body: bytes | None = None
        if json is not None:
            body, sent["Content-Type"] = orjson.dumps(json), "application/json"
        elif form is not None:
            body, sent["Content-Type"] = urlencode(form).encode(), "application/x-www-form-urlencoded"
        if key:
            sent["Idempotency-Key"] = key
        exchange = _Exchange(method, url, query, body, data, sent, fresh=not (repeatable or key))
        loop = asyncio.get_running_loop()
        until = loop.time() + self._total
        open_since_before = False
        for tried in range(1, TRIES + 1):
            try:
                return await self._once(exchange)
            except VendorError as error:
                pause = _pause(error, tried, repeatable=repeatable, keyed=bool(key))
                # a multipart body has been read by then
                if pause is None or tried == TRIES or data is not None or loop.time() + pause > until:
                    raise _final(error, method, open_since_before=open_since_before) from None
                open_since_before = open_since_before or error.uncertain
                log.info("vendor_asked_again", vendor=self.name, why=error.message, pause=round(pause, 2))
                await asyncio.sleep(pause)
        raise AssertionError  # pragma: no cover

    def address(self, url: str) -> str:
        """Where a request for the vendor's ``url`` goes."""
        if not self._base:
            return url
        parts = urlsplit(url)
        return self._base + parts.path + (f"?{parts.query}" if parts.query else "")

    async def _once(self, exchange: _Exchange) -> Answer:
        if self._closed:
            raise VendorUnavailable(f"{self.name} is not asked any more: we are stopping")
        wait = self._not_before - asyncio.get_running_loop().time()
        if wait > MAX_PAUSE_SECONDS:
            raise VendorBusy(f"{self.name} asks for a pause", retry_after=wait)
        if wait > 0:
            await asyncio.sleep(wait)
        sent = _Sent()
        body = exchange.data if exchange.body is None else exchange.body
        try:
            async with self._open(exchange.fresh).request(
                exchange.method,
                self.address(exchange.url),
                params=exchange.query,
                data=body,
                headers=exchange.headers,
                allow_redirects=False,
                trace_request_ctx=sent,
            ) as response:
                raw = await self._read(response)
                return self._judge(response, raw)
        except VendorError:
            raise
        # without their causes: some of aiohttp's exceptions carry our headers
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            if isinstance(error, aiohttp.ClientConnectorError) or not sent.possibly:
                raise VendorUnavailable(f"{self.name} cannot be reached") from None
            if isinstance(error, TimeoutError):
                raise VendorUncertain(f"{self.name} did not answer in {self._total:g} s") from None
            raise VendorUncertain(f"{self.name} broke off its answer ({type(error).__name__})") from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        read = bytearray()
        async for piece in response.content.iter_any():
            read += piece
            if len(read) > MAX_ANSWER_BYTES:
                response.close()
                raise VendorUncertain(f"{self.name} answered more than {MAX_ANSWER_BYTES} bytes")
        return bytes(read)

    def _judge(self, response: aiohttp.ClientResponse, raw: bytes) -> Answer:
        status = response.status
        body = _json(raw)
        if 200 <= status < 300:
            if raw and body is None:
                raise VendorUncertain(f"{self.name} answered {status} with a body that is no JSON")
            return Answer(status, body)
        if status == 429:
            complaint = self._complaint(body)
            if complaint.ours:
                raise self._misconfigured(complaint, status)
            pause = _retry_after(response.headers.get("Retry-After", ""))
            self._not_before = asyncio.get_running_loop().time() + pause
            code = complaint.code or "429"
            raise VendorBusy(f"{self.name} is asked too often", retry_after=pause, code=code, status=status)
        if status >= 500 or status == 408:
            raise VendorUncertain(f"{self.name} answered {status}", code=str(status), status=status)
        if status < 400 or (status in {404, 405, 410} and body is None):
            # no API speaks here: it must not be taken for "no such number"
            log.warning("vendor_address_wrong", vendor=self.name, status=status)
            raise VendorMisconfigured(
                f"{self.name} is not where it is looked for", code=str(status), status=status
            )
        complaint = self._complaint(body)
        if status in {401, 402, 403} or complaint.ours:
            raise self._misconfigured(complaint, status)
        words = self._clean(complaint.message)
        said = f"{self.name}: {words or f'answered {status}'}"
        if status in {404, 410}:
            raise VendorUnknown(said, code=complaint.code, status=status)
        raise VendorRefused(said, code=complaint.code, status=status)

    def _misconfigured(self, complaint: Complaint, status: int) -> VendorMisconfigured:
        """The operator's business: the vendor's words are for the log, the customer learns that it is not theirs."""
        log.warning(
            "vendor_refuses_us",
            vendor=self.name,
            status=status,
            code=complaint.code,
            detail=self._clean(complaint.message),
        )
        said = f"{self.name} does not serve this installation at the moment"
        return VendorMisconfigured(said, code=complaint.code or str(status), status=status)

    def _clean(self, words: str) -> str:
        """A vendor's words, without our secrets, without control characters, and not too many."""
        for secret in self._secrets:
            words = words.replace(secret, "***")
        words = " ".join("".join(c if c.isprintable() else " " for c in words).split())
        return words if len(words) <= MAX_COMPLAINT else words[: MAX_COMPLAINT - 1] + "…"

    def _open(self, fresh: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(fresh)
        if session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(_connected)
            trace.on_connection_reuseconn.append(_connected)
            session = self._sessions[fresh] = aiohttp.ClientSession(
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=self._total, sock_connect=CONNECT_SECONDS),
                connector=aiohttp.TCPConnector(limit=self._connections, force_close=fresh),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[trace],
            )
        return session


async def _connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    """From here on bytes may leave; before, a failure or a time-out of a request means that none did."""
    context.trace_request_ctx.possibly = True


def _final(error: VendorError, method: str, *, open_since_before: bool) -> VendorError:
    """What the last try's failure means for all: an earlier one may have been carried out, a GET does nothing."""
    kind: type[VendorError] | None = None
    if method == "GET":
        kind = VendorUnavailable if error.uncertain else None
    elif open_since_before and isinstance(error, VendorUnavailable | VendorBusy):
        kind = VendorUncertain
    return kind(error.message, code=error.code, status=error.status) if kind else error


def _pause(error: VendorError, tried: int, *, repeatable: bool, keyed: bool) -> float | None:
    """Seconds to wait before the next try; ``None``: no next try."""
    if isinstance(error, VendorBusy):
        return error.retry_after if error.retry_after <= MAX_PAUSE_SECONDS else None
    lost = error.uncertain and not error.status
    if isinstance(error, VendorUnavailable) or (repeatable and error.uncertain) or (keyed and lost):
        return float(0.25 * 2**tried * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
    return None


def _secrets(headers: Mapping[str, str], auth: tuple[str, str] | None) -> list[str]:
    """What must not come out of an error message, should a vendor repeat it."""
    found = [value.partition(" ")[2] for name, value in headers.items() if name.lower() == "authorization"]
    if auth is not None:
        found.append(auth[1])
    return [secret for secret in found if secret]


def _retry_after(text: str) -> float:
    """``Retry-After`` in seconds (RFC 9110 section 10.2.3); a date or nonsense counts as one."""
    try:
        seconds = float(text)
    except ValueError:
        return 1.0
    return min(max(seconds, 0.1), 3600.0) if seconds == seconds else 1.0  # noqa: PLR0124 - not a number


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
