"""The controller's side of the relay process: started when first needed, told what to do, replaced when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from ringline.media.worker import clean_environment
from ringline.streams.models import StreamFailed

log = structlog.get_logger(__name__)

MODULE: Final = "ringline.streams.relay_process"
START_SECONDS: Final = 20.0
ANSWER_SECONDS: Final = 8.0
"""For a connection; longer than the process itself takes for one."""
STOP_SECONDS: Final = 2.0

Report = dict[str, Any]
Hear = Callable[[Report], None]


class Relays(Protocol):
    """Who carries audio between WebSockets (``Relay``)."""

    async def open(self, stream_id: str, url: str, headers: dict[str, str], call_id: str, hear: Hear) -> None:
        """Connect with the customer's server. Raises ``StreamFailed``. ``hear`` is told once when it has ended."""

    def attach(self, stream_id: str, url: str) -> None:
        """Connect with Asterisk, and carry from now on."""

    def end(self, stream_id: str) -> None:
        """Close both sides; ``hear`` is told nothing more. Harmless for one that has ended."""


class Relay:
    """One process that carries every stream."""

    def __init__(self, allowed: Sequence[object]) -> None:
        """``allowed``: the operator's exceptions from the rule that only public addresses are connected to."""
        self._allowed = [str(network) for network in allowed]
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._hearing: dict[str, Hear] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process, while it lives."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process is not None else None

    async def warm(self) -> None:
        """Start the process ahead of need; a failure shows when it is needed."""
        with contextlib.suppress(StreamFailed):
            await self._running()

    async def open(self, stream_id: str, url: str, headers: dict[str, str], call_id: str, hear: Hear) -> None:
        await self._running()
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[stream_id] = answer
        self._hearing[stream_id] = hear
        try:
            self._order("open", stream_id, url=url, headers=headers, call_id=call_id)
            async with asyncio.timeout(ANSWER_SECONDS):
                await answer
        except TimeoutError:
            self.end(stream_id)
            raise StreamFailed("EXTERNAL_MEDIA_TIMEOUT", "the relay did not answer") from None
        except BaseException:
            self.end(stream_id)
            raise
        finally:
            self._waiting.pop(stream_id, None)

    def attach(self, stream_id: str, url: str) -> None:
        self._order("attach", stream_id, url=url)

    def end(self, stream_id: str) -> None:
        if self._hearing.pop(stream_id, None) is not None:
            self._order("close", stream_id)

    async def close(self) -> None:
        """End the process, and with it every stream."""
        self._closed = True
        self._hearing.clear()
        async with self._starting:
            # one that is being started is there to be ended
            pass
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
        transport: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]
        transport.close()  # the only way to have the pipes closed now and not at garbage collection

    async def _running(self) -> None:
        async with self._starting:
            if self._closed:
                raise StreamFailed("EXTERNAL_MEDIA_FAILED", "the platform is stopping")
            if self.pid is not None:
                return
            try:
                await self._start()
            except (OSError, TimeoutError, ValueError) as error:
                log.error("relay_not_started", error=repr(error))
                raise StreamFailed("EXTERNAL_MEDIA_FAILED", "the relay could not be started") from error

    async def _start(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            MODULE,
            *self._allowed,
            stdin=PIPE,
            stdout=PIPE,
            env=clean_environment(),
            start_new_session=True,
        )
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = json.loads(await process.stdout.readline())
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        log.info("relay_started", pid=process.pid, ready=ready["event"])
        self._process = process
        self._reader = asyncio.create_task(self._read(process, process.stdout), name="relay-reports")

    async def _read(self, process: Process, reports: asyncio.StreamReader) -> None:
        async for line in reports:
            try:
                self._hear(json.loads(line))
            except Exception:
                log.exception("relay_report_failed")
        status = await process.wait()
        if not self._closed:
            log.error("relay_died", status=status, streams=len(self._hearing))
        for stream_id in list(self._hearing):
            self._hear(
                {
                    "id": stream_id,
                    "event": "ended",
                    "by": "us",
                    "reason": "LOST",
                    "message": "the relay was lost",
                }
            )

    def _hear(self, report: Report) -> None:
        stream_id = str(report.get("id", ""))
        waiting = self._waiting.get(stream_id)
        if report["event"] == "connected":
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        elif report["event"] == "ended":
            hear = self._hearing.pop(stream_id, None)
            if waiting is not None and not waiting.done():
                reason = report["reason"] or "FAILED"
                message = report["message"] or "the server closed the WebSocket at once"
                waiting.set_exception(StreamFailed(f"EXTERNAL_MEDIA_{reason}", message))
            elif hear is not None:
                hear(report)

    def _order(self, order: str, stream_id: str, **facts: Any) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return
        process.stdin.write(json.dumps({"order": order, "id": stream_id, **facts}).encode() + b"\n")
