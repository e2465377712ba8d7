"""Headless Chromium with the page /phone in it, driven over the DevTools protocol; its microphone is a tone.

Nothing is downloaded and nothing stands between: one WebSocket to the page, JSON both ways
(https://chromedevtools.github.io/devtools-protocol/).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import soundfile

# The strongest frequency in what the page plays, and its level: 0 Hz where that is silence.
_EAR = """
window.ear = {
  context: null, source: null, analyser: null,
  listen() {
    const stream = document.getElementById("remote").srcObject;
    if (!stream) return null;
    if (this.stream !== stream) {
      this.context ??= new AudioContext();
      this.context.resume();
      this.stream = stream;
      this.analyser = new AnalyserNode(this.context, { fftSize: 8192, smoothingTimeConstant: 0.2 });
      this.context.createMediaStreamSource(stream).connect(this.analyser);
    }
    const bins = new Float32Array(this.analyser.frequencyBinCount);
    this.analyser.getFloatFrequencyData(bins);
    let best = 0;
    for (let bin = 1; bin < bins.length; bin++) if (bins[bin] > bins[best]) best = bin;
    return bins[best] > -55 ? best * this.context.sampleRate / this.analyser.fftSize : 0;
  },
};
"""


class Refused(AssertionError):
    """The browser did not do what it was asked, as while its page is being replaced by the next one."""


class Chromium:
    """One page. ``tone`` (Hz) is what its microphone hears."""

    def __init__(self, directory: Path, process: asyncio.subprocess.Process) -> None:
        self.directory = directory
        self.said: list[str] = []
        self._process = process
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, *, tone: int = 1000, flags: tuple[str, ...] = ()) -> Chromium:
        directory = Path(tempfile.mkdtemp(prefix="chromium-"))
        moments = np.arange(48_000 * 10) / 48_000
        # ten seconds end where they begin: played again and again it is one tone
        soundfile.write(
            directory / "tone.wav", 0.3 * np.sin(2 * np.pi * tone * moments), 48_000, subtype="PCM_16"
        )
        log = (directory / "log").open("wb")
        process = await asyncio.create_subprocess_exec(
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--mute-audio",
            "--autoplay-policy=no-user-gesture-required",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={directory / 'tone.wav'}",
            "--ignore-certificate-errors",
            "--remote-debugging-port=0",
            f"--user-data-dir={directory / 'profile'}",
            *flags,
            "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        browser = cls(directory, process)
        try:
            await browser._connect()
        except BaseException:
            await browser.stop()
            raise
        return browser

    async def stop(self) -> None:
        """End it as somebody does who closes the window: nothing is said to anybody."""
        # a group of its own: the renderers as well
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._http.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    # the page

    async def open(self, url: str) -> None:
        await self.send("Page.navigate", url=url)
        # what was asked of the page before this one is refused
        ready = "location.href.startsWith(%s) && document.body && document.body.dataset.ready === 'yes'"
        await self.until(ready % json.dumps(url), f"{url} is there", within=60.0)
        await self.run(_EAR)

    async def run(self, script: str) -> Any:
        """The value of an expression; that of a promise when it is one."""
        answer = await self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}\n{self.said[-10:]}"
        return answer["result"].get("value")

    async def until(self, condition: str, what: str, within: float = 30.0) -> Any:
        """Wait until an expression is true."""
        deadline = time.monotonic() + within
        while True:
            late = time.monotonic() > deadline
            with contextlib.suppress(Refused):
                value = await self.run(condition)
                if value:
                    return value
            if late:
                shown = {name: await self.text(name) for name in ("line", "call", "trouble")}
                raise AssertionError(f"{what}: not within {within:g} s; {shown}, said: {self.said[-10:]}")
            await asyncio.sleep(0.05)

    async def click(self, name: str) -> None:
        """Click on what has this id."""
        await self.run(f"document.getElementById({json.dumps(name)}).click()")

    async def fill(self, **values: str) -> None:
        for name, value in values.items():
            await self.run(f"document.getElementById({json.dumps(name)}).value = {json.dumps(value)}")

    async def text(self, name: str) -> str:
        return str(await self.run(f"document.getElementById({json.dumps(name)})?.textContent || ''"))

    async def visible(self, name: str) -> bool:
        return bool(await self.run(f"document.getElementById({json.dumps(name)}).checkVisibility()"))

    async def state(self, name: str, *states: str, within: float = 30.0) -> str:
        """Wait until ``line`` or ``call`` has one of these states; the sentence that is shown."""
        await self.until(
            f"{json.dumps(states)}.includes(document.getElementById({json.dumps(name)}).dataset.state)",
            f"{name} is {' or '.join(states)}",
            within,
        )
        return await self.text(name)

    # the telephone

    async def register(
        self, env: Mapping[str, str], user: str, *, scheme: str = "ws", password: str = "", wait: bool = True
    ) -> None:
        """Open the page and sign in, as somebody does who types."""
        await self.open(env["RINGLINE_API_URL"] + "/phone")
        port = env[f"RINGLINE_KAMAILIO_{scheme.upper()}_PORT"]
        await self.fill(
            user=user,
            domain=f"test.{env['RINGLINE_SIP_DOMAIN']}",
            password=password or env["RINGLINE_EXTENSION_PASSWORD"],
            server=f"{scheme}://127.0.0.1:{port}",
        )
        await self.click("register")
        if wait:
            await self.state("line", "registered")

    async def dial(self, number: str) -> None:
        await self.fill(number=number)
        await self.click("dial")

    async def press(self, digits: str) -> None:
        """Click on keys of the pad."""
        for digit in digits:
            keys = "[...document.querySelectorAll('#keys button')]"
            await self.run(f"{keys}.find((key) => key.textContent === {json.dumps(digit)}).click()")

    async def hears(self, frequency: float, within: float = 30.0) -> None:
        """Wait until the loudest of what is heard is this tone; 0 is silence."""
        await self.until(
            f"(() => {{ window.last = ear.listen(); return last !== null && Math.abs(last - {frequency}) < 15; }})()",
            f"{frequency:g} Hz is heard",
            within,
        )

    # the protocol

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        assert self._socket is not None
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": parameters}))
        return await asyncio.wait_for(answer, 60.0)

    async def _connect(self) -> None:
        deadline = time.monotonic() + 60.0
        active = self.directory / "profile" / "DevToolsActivePort"
        while True:
            with contextlib.suppress(OSError, ValueError, IndexError, StopIteration, aiohttp.ClientError):
                port = int(active.read_text().split("\n")[0])
                async with self._http.get(f"http://127.0.0.1:{port}/json/list") as response:
                    page = next(target for target in await response.json() if target["type"] == "page")
                self._socket = await self._http.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
                break
            assert self._process.returncode is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            await asyncio.sleep(0.1)
        self._reading = asyncio.create_task(self._read())
        await self.send("Page.enable")
        await self.send("Runtime.enable")
        await self.send("Log.enable")

    async def _read(self) -> None:
        assert self._socket is not None
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            said = json.loads(message.data)
            waiting = self._answers.pop(said.get("id", 0), None)
            if waiting is not None and not waiting.done():
                if "error" in said:
                    waiting.set_exception(Refused(said["error"]))
                else:
                    waiting.set_result(said["result"])
            elif said.get("method") == "Log.entryAdded":
                self.said.append(said["params"]["entry"]["text"])
            elif said.get("method") in {"Runtime.consoleAPICalled", "Runtime.exceptionThrown"}:
                self.said.append(json.dumps(said["params"])[:500])


@asynccontextmanager
async def chromium(**options: Any) -> AsyncIterator[Chromium]:
    browser = await Chromium.start(**options)
    try:
        yield browser
    finally:
        await browser.stop()
