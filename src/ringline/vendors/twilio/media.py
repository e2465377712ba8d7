"""Pictures and the like that came with a text: Twilio gives them to the account only."""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from ringline.vendors.errors import VendorRefused, VendorUnavailable, VendorUnknown
from ringline.vendors.twilio.client import API, TwilioClient

_REDIRECTS: Final = 3
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)


async def fetch(client: TwilioClient, token: str, url: str, limit: int) -> tuple[str, bytes]:
    """The media type and the bytes. Twilio sends on to a signed address of its storage, which sees no credential."""
    own = f"{API}/2010-04-01/Accounts/{client.account_sid}/"
    if not url.startswith(own) or ".." in url or "?" in url or "#" in url:
        raise VendorRefused("this medium is not twilio's")
    at = client.address(url)
    credential = {"Authorization": aiohttp.encode_basic_auth(client.account_sid, token)}
    home = urlsplit(at)
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as session:
            for _ in range(_REDIRECTS):
                there = urlsplit(at)
                if there.scheme != "https" and (there.scheme, there.netloc) != (home.scheme, home.netloc):
                    raise VendorRefused("twilio sent us on to an address without TLS")
                async with session.get(at, headers=credential, allow_redirects=False) as response:
                    if response.status in {301, 302, 303, 307, 308}:
                        at = urljoin(at, response.headers.get("Location", ""))
                        credential = {}
                        continue
                    if response.status in {404, 410}:
                        raise VendorUnknown("twilio has this medium no longer")
                    if response.status != 200:
                        raise VendorUnavailable(f"twilio answered {response.status} for a medium")
                    return response.content_type, await _body(response, limit)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise VendorUnavailable(
            f"a medium could not be fetched from twilio ({type(error).__name__})"
        ) from error
    raise VendorRefused("twilio sent us on too often")


async def _body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    got = bytearray()
    async for piece in response.content.iter_chunked(64 * 1024):
        got += piece
        if len(got) > limit:
            raise VendorRefused(f"the medium is larger than {limit} bytes")
    return bytes(got)
