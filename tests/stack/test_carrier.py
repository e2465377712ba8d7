"""The test instance's carrier in its container: what it leaves where a person in the checkout finds it.

How it behaves in every case is tested without containers in ``tests/component/sandbox``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.stack.caller import Caller
from tests.stack.product import CHECKOUT, eventually
from tests.stack.rtp import Ear, linear, match, noise, read_wav
from tests.stack.sip import Phone


def journal(env: Mapping[str, str]) -> Path:
    return (CHECKOUT / env["RINGLINE_CARRIER_RECORDING_PREFIX"]).parent / "calls.jsonl"


async def line_of(env: Mapping[str, str], call_id: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            if journal(env).exists():
                # the last one may still be in the writing
                lines = [json.loads(line) for line in journal(env).read_bytes().split(b"\n")[:-1]]
                found = [line for line in lines if line["sip_call_id"] == call_id]
                if found:
                    assert len(found) == 1
                    return dict(found[0])
            await asyncio.sleep(0.05)


@pytest.fixture
async def caller(env: Mapping[str, str]) -> AsyncIterator[Caller]:
    phone, ear = await Phone.open(), await Ear.open()
    yield Caller(phone, ear, int(env["RINGLINE_CARRIER_SIP_PORT"]))
    phone.close()
    ear.close()


async def dial(env: Mapping[str, str], *options: str) -> tuple[int, str, str]:
    """``ringline sandbox dial`` as a user of the checkout runs it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from ringline.cli import app; app()", "sandbox", "dial", *options),
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()


async def test_is_well(env: Mapping[str, str]) -> None:
    url = f"{env['RINGLINE_CARRIER_CONTROL_URL']}/healthz"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        assert (await response.json())["lines_failed"] == 0


@pytest.mark.parametrize(("ending", "status"), [("0001", 486), ("0003", 603), ("0004", 404), ("0005", 503)])
async def test_refusals(env: Mapping[str, str], caller: Caller, ending: str, status: int) -> None:
    call_id = caller.call(f"+1555000{ending}")
    caller.refused(await caller.status(status))
    line = await line_of(env, call_id)
    assert (line["number"], line["tm_answer"], line["recording"]) == (f"+1555000{ending}", None, None)


async def test_recording_is_in_the_checkout(env: Mapping[str, str], caller: Caller) -> None:
    call_id = caller.call("+15550000008")
    await caller.answered()
    sent = noise(1.0)
    await caller.ear.say(caller.rtp_port, sent)
    await caller.ear.press(caller.rtp_port, "09#")
    await eventually(lambda: sent in caller.ear.audio(), "all of it comes back")
    await caller.bye()
    line = await line_of(env, call_id)
    assert line["dtmf"] == "09#"
    assert not Path(line["recording"]).is_absolute()
    quality, at = match(read_wav(CHECKOUT / line["recording"]), linear(sent))
    assert quality > 0.999
    assert at < 2


async def test_dialling_an_unknown_number(env: Mapping[str, str]) -> None:
    status, out, error = await dial(env, "--from", "+15557654321", "--to", "+15559990000")
    assert status == 1
    assert out.startswith("calling")
    assert "404 Not Found: the number is not known" in error


async def test_dialling_nonsense(env: Mapping[str, str]) -> None:
    status, _, error = await dial(env, "--from", "alice", "--to", "+15559990000")
    assert status == 1
    assert "from" in error
