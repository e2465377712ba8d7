"""What strangers do to an API on purpose, on the running stack: refused with its status, others served meanwhile.

Each test comes from an address of its own on the loopback, so that what is held against it is held against nobody
else.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.stack.product import Product, eventually

WRONG = "vb_" + "x" * 40


def somewhere() -> str:
    """An address that nobody else has."""
    return f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}"


class Stranger:
    """Asks from an address of its own."""

    def __init__(self, session: aiohttp.ClientSession, url: str, address: str) -> None:
        self._session = session
        self.url = url
        self.address = address

    async def ask(
        self, method: str, path: str, *, key: str = "", **more: Any
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, decoded body and headers."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with self._session.request(method, self.url + path, headers=headers, **more) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None, response.headers

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection, to be spoken on by hand."""
        place = urlsplit(self.url)
        return await asyncio.open_connection(place.hostname, place.port, local_addr=(self.address, 0))

    async def raw(self, data: bytes) -> bytes:
        """The status line of the answer to bytes; nothing where the connection was closed without one."""
        reader, writer = await self.open()
        try:
            writer.write(data)
            return (await asyncio.wait_for(reader.read(65536), 30)).split(b"\r\n")[0]
        except ConnectionError:
            return b""
        finally:
            writer.close()


@pytest.fixture
async def stranger(env: Mapping[str, str]) -> AsyncIterator[Stranger]:
    address = somewhere()
    connector = aiohttp.TCPConnector(local_addr=(address, 0), limit=50)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield Stranger(session, env["RINGLINE_API_URL"], address)


@asynccontextmanager
async def others_are_served(product: Product) -> AsyncIterator[None]:
    """Somebody else asks all the time, and is answered."""
    times: list[float] = []

    async def ask() -> None:
        while True:
            began = time.monotonic()
            await product.api.get("/v1.0/customer")
            times.append(time.monotonic() - began)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(ask())
    try:
        yield
        await asyncio.sleep(0.1)
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert times
    # a machine with other work to do may take its time; an API that is held up does not answer at all
    assert max(times) < 10, max(times)


async def test_guessing_passwords_ends_in_pauses_for_the_guesser_only(
    product: Product, env: Mapping[str, str], stranger: Stranger
) -> None:
    name = env["RINGLINE_ADMIN_USERNAME"]
    async with others_are_served(product):
        # one after the other: a busy machine checks few passwords at once
        wrong = 0
        while True:
            guess = {"username": name, "password": f"guess {wrong}"}
            status, answer, _ = await stranger.ask("POST", "/auth/login", json=guess)
            if status == 429:
                break
            assert status == 401, answer
            wrong += 1
            assert wrong <= 20, "nothing slows guesses down"
        assert wrong >= 10
        right = {"username": name, "password": env["RINGLINE_ADMIN_PASSWORD"]}
        status, answer, headers = await stranger.ask("POST", "/auth/login", json=right)
        assert (status, answer["error"]["reason"]) == (429, "RATE_LIMIT_EXCEEDED")
        assert int(headers["Retry-After"]) >= 1
        # whose name it is logs in from elsewhere
        await product.api.post("/auth/login", right, accesskey="")


async def test_guessing_keys_is_slowed_and_right_keys_behind_the_same_address_are_served(
    product: Product, env: Mapping[str, str], stranger: Stranger
) -> None:
    known = env["RINGLINE_ACCESSKEY"]
    fresh = await product.api.post("/v1.0/accesskeys", {"name": "behind a NAT"})
    async with others_are_served(product):
        assert (await stranger.ask("GET", "/v1.0/customer", key=known))[0] == 200
        began = time.monotonic()
        answers = await asyncio.gather(
            *(stranger.ask("GET", "/v1.0/customer", key=f"vb_{secrets.token_hex(20)}") for _ in range(1000))
        )
        seconds = time.monotonic() - began
        counts = Counter(status for status, *_ in answers)
        assert set(counts) <= {401, 429}
        assert counts[401] <= 220 + 15 * (seconds + 1), counts
        refused = [(answer, headers) for status, answer, headers in answers if status == 429]
        if refused:  # a machine slow enough is guessing slowly by itself
            assert refused[0][0]["error"]["reason"] == "RATE_LIMIT_EXCEEDED"
            assert int(refused[0][1]["Retry-After"]) >= 1
        for _ in range(20):
            assert (await stranger.ask("GET", "/v1.0/customer", key=known))[0] == 200

        async def let_in() -> bool:
            return (await stranger.ask("GET", "/v1.0/customer", key=fresh["token"]))[0] == 200

        await eventually(let_in, "a right key that is new there is looked at", within=40)
    await product.api.delete(f"/v1.0/accesskeys/{fresh['id']}")


async def test_expired_and_revoked_credentials(
    product: Product, env: Mapping[str, str], stranger: Stranger
) -> None:
    async def refused(credential: str, word: str) -> None:
        async def check() -> bool:
            status, answer, _ = await stranger.ask("GET", "/v1.0/customer", key=credential)
            assert status == 401, answer
            assert answer["error"]["reason"] == "INVALID_CREDENTIALS"
            assert word in answer["error"]["message"]
            return True

        await eventually(check, f"it is refused: {word}")

    short = await product.api.post("/v1.0/accesskeys", {"name": "short", "expire": 1})
    gone = await product.api.post("/v1.0/accesskeys", {"name": "gone"})
    assert (await stranger.ask("GET", "/v1.0/customer", key=gone["token"]))[0] == 200
    await product.api.delete(f"/v1.0/accesskeys/{gone['id']}")
    login = {"username": env["RINGLINE_ADMIN_USERNAME"], "password": env["RINGLINE_ADMIN_PASSWORD"]}
    status, answer, _ = await stranger.ask("POST", "/auth/login", json=login)
    assert status == 200, answer
    token = answer["token"]
    assert (await stranger.ask("GET", "/v1.0/customer", key=token))[0] == 200
    status, _, headers = await stranger.ask("POST", "/auth/logout", key=token)
    assert status == 200
    assert 'token=""' in headers["Set-Cookie"] or "token=;" in headers["Set-Cookie"]
    await refused(gone["token"], "deleted")
    await refused(token, "logged out")
    await refused(short["token"], "expired")


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _read(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return found


def _signed(header: object, claims: object, key: bytes, digest: str = "sha256") -> str:
    text = f"{_part(header)}.{_part(claims)}"
    signature = hmac.new(key, text.encode(), digest).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


async def test_forged_tokens(product: Product, env: Mapping[str, str], stranger: Stranger) -> None:
    login = {"username": env["RINGLINE_ADMIN_USERNAME"], "password": env["RINGLINE_ADMIN_PASSWORD"]}
    token = (await product.api.post("/auth/login", login, accesskey=""))["token"]
    first, second, signature = token.split(".")
    header, claims = _read(first), _read(second)
    assert (header["alg"], claims["exp"] - claims["iat"]) == ("HS256", 7 * 86_400)
    assert (await stranger.ask("GET", "/v1.0/customer", key=token))[0] == 200
    secret = env["RINGLINE_JWT_SECRET"].encode()
    more = {**claims, "exp": claims["exp"] + 86_400}
    forged = {
        "no algorithm": f"{_part({**header, 'alg': 'none'})}.{second}.",
        "no algorithm, with a signature": f"{_part({**header, 'alg': 'None'})}.{second}.{signature}",
        "no signature": f"{first}.{second}.",
        "another key": _signed(header, claims, b"k" * 32),
        "the installation's secret itself": _signed(header, claims, secret),
        "an empty key": _signed(header, claims, b""),
        "the key's name as the key": _signed(header, claims, header["kid"].encode()),
        "another key of ours": _signed({**header, "kid": hashlib.md5(b"x").hexdigest()}, claims, secret),
        "no key named": _signed({"alg": "HS256", "typ": "JWT"}, claims, secret),
        "a key that is a path": _signed({**header, "kid": "../../dev/null"}, claims, b""),
        "another algorithm": _signed({**header, "alg": "HS512"}, claims, secret, "sha512"),
        "a public key's algorithm": f"{_part({**header, 'alg': 'RS256'})}.{second}.{signature}",
        "a key that comes along": _signed({**header, "jwk": {"kty": "oct", "k": "a2s"}}, claims, b"kk"),
        "other claims under the same signature": f"{first}.{_part(more)}.{signature}",
        "a header of lists": f"{_part([1])}.{second}.{signature}",
        "three dots of nothing": "..",
    }
    for what, one in forged.items():
        status, answer, _ = await stranger.ask("GET", "/v1.0/customer", key=one)
        assert (status, answer["error"]["reason"]) == (401, "INVALID_CREDENTIALS"), what
        assert secret.decode() not in json.dumps(answer)


async def test_too_large_and_too_deep(product: Product, env: Mapping[str, str], stranger: Stranger) -> None:
    host = b"Host: x\r\nConnection: close\r\n"
    key = f"Authorization: Bearer {env['RINGLINE_ACCESSKEY']}\r\n".encode()
    async with others_are_served(product):
        requests = {
            "a request line of 64 KB": b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\n" + host + b"\r\n",
            "a header of 64 KB": b"GET /healthz HTTP/1.1\r\n" + host + b"X: " + b"a" * 65536 + b"\r\n\r\n",
            "a thousand headers": b"GET /healthz HTTP/1.1\r\n"
            + host
            + b"".join(b"X-%d: y\r\n" % n for n in range(1000))
            + b"\r\n",
            "no HTTP at all": b"\x16\x03\x01" + bytes(range(256)) + b"\r\n\r\n",
            "two lengths": b"POST /v1.0/calls HTTP/1.1\r\n"
            + host
            + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            "a length and chunks": b"POST /v1.0/calls HTTP/1.1\r\n"
            + host
            + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        }
        for what, data in requests.items():
            line = await stranger.raw(data)
            assert line.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")) or line == b"", (what, line)
        deep = b'{"actions":' + b"[" * 200_000
        post = (
            b"POST /v1.0/calls HTTP/1.1\r\n"
            + host
            + key
            + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )
        lines = await asyncio.gather(*(stranger.raw(post % len(deep) + deep) for _ in range(20)))
        assert {line.split(b" ", 1)[1][:3] for line in lines} == {b"400"}
        announced = await stranger.raw(post % 10_000_000_000)
        assert announced.split(b" ", 1)[1][:3] == b"413"
        status, answer, _ = await stranger.ask("GET", "/v1.0/customer", key="x" * 6000)
        assert (status, answer["error"]["reason"]) == (401, "INVALID_CREDENTIALS")


async def _drip(stranger: Stranger, start: bytes, byte: bytes, seconds: float) -> tuple[float, bytes]:
    """Send a byte now and then; after how long the other side had enough, and what it said."""
    reader, writer = await stranger.open()
    began = time.monotonic()

    async def all_that_is_said() -> bytes:
        said = b""
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                said += piece
        return said

    answer = asyncio.create_task(all_that_is_said())
    try:
        writer.write(start)
        while time.monotonic() - began < seconds and not answer.done():
            writer.write(byte)
            await asyncio.wait({answer}, timeout=0.5)
        said = answer.result() if answer.done() else b""
        return time.monotonic() - began, said
    except ConnectionError:
        return time.monotonic() - began, await answer
    finally:
        answer.cancel()
        writer.close()


@pytest.mark.timeout(240)
async def test_requests_that_trickle_in_are_given_up(
    product: Product, env: Mapping[str, str], stranger: Stranger
) -> None:
    key = env["RINGLINE_ACCESSKEY"].encode()
    headers = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "
    body = (
        b"POST /v1.0/calls HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer "
        + key
        + b"\r\nContent-Length: 10000\r\n\r\n"
    )
    async with others_are_served(product):
        found = await asyncio.gather(
            *(_drip(stranger, headers, b"a", 60) for _ in range(50)),
            *(_drip(stranger, body, b" ", 60) for _ in range(50)),
        )
    # not by us, who would go on for a minute
    assert max(seconds for seconds, _ in found) < 55
    said = [answer for _, answer in found[50:] if answer]
    assert said, "nobody was told"
    assert all(answer.startswith(b"HTTP/1.1 400") and b"REQUEST_TIMEOUT" in answer for answer in said)


async def test_an_address_with_too_many_connections(product: Product, stranger: Stranger) -> None:
    most = 512
    held: list[asyncio.StreamWriter] = []
    try:
        async with others_are_served(product):

            async def hold(count: int) -> None:
                for _ in range(count):
                    _, writer = await stranger.open()
                    held.append(writer)

            await hold(most)

            async def refused() -> bool:
                # idle connections are closed after a while: a slow machine has to make up for those
                await hold(32)
                line = await stranger.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert line == b"" or b"429" in line, line
                return True

            await eventually(refused, "there is no room for one more")
    finally:
        for writer in held:
            writer.close()

    async def again() -> bool:
        line = await stranger.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b" 200 " in line

    await eventually(again, "there is room again", within=40)


async def test_answers_say_what_is_left_and_one_place_shows_all_limits(
    product: Product, env: Mapping[str, str]
) -> None:
    url, key = env["RINGLINE_API_URL"], env["RINGLINE_ACCESSKEY"]
    async with aiohttp.ClientSession() as session:
        left = []
        for path in ("/v1.0/customer", "/v1.0/calls", "/v1.0/flows/00000000-0000-0000-0000-000000000001"):
            asked = time.time()
            async with session.get(url + path, params={"accesskey": key}) as response:
                most = response.headers["X-RateLimit-Limit"]
                assert f";q={most};" in response.headers["RateLimit-Policy"]
                left.append(int(response.headers["X-RateLimit-Remaining"]))
                assert int(response.headers["X-RateLimit-Reset"]) >= asked - 2
        assert all(0 < one <= int(most) for one in left)
    shown = {one["name"]: one for one in (await product.api.get("/v1.0/limits"))["result"]}
    assert {"requests", "calls_at_once", "calls_per_second", "waiting_calls", "messages_per_second"} <= set(
        shown
    )
    assert shown["requests"]["remaining"] > 0
    assert shown["waiting_calls"]["limit"] == 10_000
    extensions = (await product.api.get("/v1.0/extensions", page_size="1000"))["result"]
    assert shown["extensions"]["used"] == len(extensions)
