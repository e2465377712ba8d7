"""A carrier of its own for these tests: the real process on ports of its own, writing to a temporary folder."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.stack.caller import Caller
from tests.stack.rtp import Ear
from tests.stack.sip import Phone


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], object], within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.02)


@dataclass
class Running:
    """A carrier process and what it wrote."""

    process: asyncio.subprocess.Process
    sip_port: int
    control_port: int
    kamailio_port: int
    folder: Path
    environment: dict[str, str]

    def lines(self) -> list[dict[str, Any]]:
        path = self.folder / "calls.jsonl"
        # the last one may be under way
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        return [json.loads(line) for line in whole.splitlines()]

    async def line(self, call_id: str, within: float = 20.0) -> dict[str, Any]:
        """The one line of a call; a second one is an error."""
        async with asyncio.timeout(within):
            while not (found := [line for line in self.lines() if line["sip_call_id"] == call_id]):
                await asyncio.sleep(0.02)
        assert len(found) == 1
        return found[0]

    @property
    def dial_url(self) -> str:
        return f"http://127.0.0.1:{self.control_port}/dial"


async def start_carrier(folder: Path, **changes: str) -> Running:
    rtp_start = 22000 + os.getpid() % 20 * 400
    running = Running(
        process=None,  # type: ignore[arg-type]  # set below
        sip_port=free_port(),
        control_port=free_port(socket.SOCK_STREAM),
        kamailio_port=free_port(),
        folder=folder,
        environment={},
    )
    running.environment = {
        **os.environ,
        "RINGLINE_CARRIER_SIP_PORT": str(running.sip_port),
        "RINGLINE_CARRIER_RTP_START": str(rtp_start),
        "RINGLINE_CARRIER_RTP_END": str(rtp_start + 399),
        "RINGLINE_CARRIER_CONTROL_PORT": str(running.control_port),
        "RINGLINE_CARRIER_CONTROL_URL": f"http://127.0.0.1:{running.control_port}",
        "RINGLINE_CARRIER_DIR": str(folder),
        "RINGLINE_CARRIER_RECORDING_PREFIX": "var/carrier/recordings",
        "RINGLINE_KAMAILIO_HOST": "127.0.0.1",
        "RINGLINE_KAMAILIO_PORT": str(running.kamailio_port),
        **changes,
    }
    running.process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ringline.sandbox", env=running.environment, stdout=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(60):
        while await check(running):
            assert running.process.returncode is None, "the carrier did not start"
            await asyncio.sleep(0.1)
    return running


async def check(running: Running) -> int:
    probe = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ringline.sandbox",
        "--check",
        env=running.environment,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await probe.wait()


async def stop_carrier(running: Running) -> int:
    if running.process.returncode is None:
        running.process.terminate()
    async with asyncio.timeout(30):
        return await running.process.wait()


@pytest.fixture(scope="module")
async def carrier(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    running = await start_carrier(tmp_path_factory.mktemp("carrier"))
    yield running
    assert await stop_carrier(running) == 0


@pytest.fixture
async def caller(carrier: Running) -> AsyncIterator[Caller]:
    phone, ear = await Phone.open(), await Ear.open()
    yield Caller(phone, ear, carrier.sip_port)
    phone.close()
    ear.close()
