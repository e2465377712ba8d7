"""Sound files from customers' URLs: fetched under guard, decoded in a jail, remembered as HTTP allows."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from ringline.settings import Settings

from .address_guard import AddressForbidden, AddressGuard, loggable
from .errors import MediaFailed, Reason
from .flight import SingleFlight
from .observer import MediaObserver
from .outbound import BodyTooLarge, OutboundClient, OutboundFailed, OutboundTimeout
from .prompt import Prompt
from .store import PromptStore
from .worker import WorkerBusy, WorkerError, WorkerPool, WorkerRefused

log = structlog.get_logger(__name__)

CONVERTER = "files/1"
MAX_SOUND_SECONDS = 3600
DECODE_SECONDS = 30.0
MAX_REMEMBERED_URLS = 10_000
MAX_FRESH_SECONDS = 86_400.0
WRITE_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class _Known:
    digest: str
    etag: str
    modified: str
    fresh_until: float


class SoundFiles:
    """Prompts by URL. ``clock`` is monotonic seconds."""

    def __init__(
        self,
        settings: Settings,
        store: PromptStore,
        decoder: WorkerPool,
        observer: MediaObserver,
        *,
        client: OutboundClient | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = settings.fetch_max_bytes
        self._timeout = settings.fetch_timeout_seconds
        self._store = store
        self._decoder = decoder
        self._observer = observer
        self._clock = clock
        self._client = client or OutboundClient(AddressGuard(settings.fetch_allowed_networks))
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._flights: SingleFlight[Prompt] = SingleFlight("FETCH_FAILED")

    async def close(self) -> None:
        await self._flights.close()
        await self._client.close()

    async def file(self, url: str) -> Prompt:
        """The prompt of ``url``. Raises `MediaFailed`."""
        known = self._known.get(url)
        if known is not None and self._clock() < known.fresh_until:
            prompt = self._store.get("files", known.digest)
            if prompt is not None:
                self._observer.media_done("file", "cache", "ok", 0.0)
                return prompt
        return await self._flights.run(url, lambda: self._observed(url))

    async def _observed(self, url: str) -> Prompt:
        started = self._clock()
        result = "failed"
        try:
            prompt = await self._fetch(url)
            result = "ok"
        except MediaFailed as failure:
            result = failure.reason.lower()
            log.info("media_file_failed", url=loggable(url), reason=failure.reason)
            raise
        finally:
            self._observer.media_done("file", "http", result, self._clock() - started)
        return prompt

    async def _fetch(self, url: str) -> Prompt:
        with self._store.workspace() as stem:
            source = stem.with_name(f"{stem.name}.source")
            try:
                digest = await self._download(url, source)
            except AddressForbidden as error:
                raise _failed("FETCH_FORBIDDEN", url, error) from error
            except BodyTooLarge as error:
                raise _failed("FETCH_TOO_LARGE", url, error) from error
            except OutboundTimeout as error:
                raise _failed("FETCH_TIMEOUT", url, error) from error
            except OutboundFailed as error:
                raise _failed("FETCH_FAILED", url, error) from error
            except OSError as error:
                raise await self._store.failure(error) from error
            prompt = self._store.get("files", digest)
            if prompt is None:
                await self._convert(url, source, stem)
                prompt = await self._store.put("files", digest, stem)
            return prompt

    async def _download(self, url: str, source: Path) -> str:
        """Fetch to ``source`` and remember; the digest of the sound, which is there already after a 304."""
        known = self._known.get(url)
        if known is not None and self._store.get("files", known.digest) is None:
            known = None
        headers = {"Accept": "audio/*, application/ogg, application/octet-stream;q=0.5"}
        if known is not None and known.etag:
            headers["If-None-Match"] = known.etag
        if known is not None and known.modified:
            headers["If-Modified-Since"] = known.modified
        async with self._client.open("GET", url, headers=headers, timeout_seconds=self._timeout) as response:
            if response.status == 304 and known is not None:
                digest = known.digest
            elif response.status == 200:
                digest = await self._save(response, source)
            else:
                raise OutboundFailed(f"the server answered {response.status}")
            self._remember(url, digest, response, known)
        return digest

    async def _save(self, response: aiohttp.ClientResponse, source: Path) -> str:
        sha = hashlib.sha256(CONVERTER.encode())
        waiting = bytearray()

        def write(data: bytes) -> None:
            sha.update(data)
            with source.open("ab") as file:
                file.write(data)

        async for chunk in self._client.chunks(response, self._max_bytes):
            waiting += chunk
            if len(waiting) >= WRITE_BYTES:
                await _finished(asyncio.to_thread(write, bytes(waiting)))
                waiting.clear()
        await _finished(asyncio.to_thread(write, bytes(waiting)))
        return sha.hexdigest()

    def _remember(
        self, url: str, digest: str, response: aiohttp.ClientResponse, known: _Known | None
    ) -> None:
        self._known.pop(url, None)
        control = _cache_control(response)
        if "no-store" in control:
            return
        fresh = 0.0 if "no-cache" in control else _seconds(control.get("max-age", "0"))
        self._known[url] = _Known(
            digest,
            response.headers.get("ETag", known.etag if known else "")[:1000],
            response.headers.get("Last-Modified", known.modified if known else "")[:100],
            self._clock() + min(fresh, MAX_FRESH_SECONDS),
        )
        while len(self._known) > MAX_REMEMBERED_URLS:
            self._known.popitem(last=False)

    async def _convert(self, url: str, source: Path, stem: Path) -> None:
        job = {
            "op": "convert",
            "source": str(source),
            "target": str(stem),
            "max_seconds": MAX_SOUND_SECONDS,
            "cpu_seconds": DECODE_SECONDS,
        }
        try:
            await self._decoder.run(job, seconds=DECODE_SECONDS)
        except WorkerRefused as error:
            raise _failed("MEDIA_UNSUPPORTED", url, error) from error
        except WorkerBusy as error:
            raise _failed("FETCH_TIMEOUT", url, "too many files are being converted") from error
        except WorkerError as error:
            if isinstance(error.__cause__, OSError):
                raise await self._store.failure(error.__cause__) from error
            log.warning("media_decoder_died", url=loggable(url), error=str(error))
            raise _failed("MEDIA_UNSUPPORTED", url, "the file broke the decoder") from error


async def _finished(work: Coroutine[Any, Any, None]) -> None:
    """Wait for a thread's ``work`` to its end even when time is up: a thread cannot be cancelled, and would write a
    file anew that has just been removed.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    finally:
        await asyncio.wait([task])


def _failed(reason: Reason, url: str, why: object) -> MediaFailed:
    return MediaFailed(f"the file {loggable(url)} cannot be played: {why}", reason=reason)


def _cache_control(response: aiohttp.ClientResponse) -> dict[str, str]:
    directives = {}
    for part in response.headers.get("Cache-Control", "").lower().split(",")[:20]:
        name, _, value = part.strip().partition("=")
        directives[name] = value.strip('" ')
    return directives


def _seconds(value: str) -> float:
    return float(value[:9]) if value.isascii() and value.isdigit() else 0.0
