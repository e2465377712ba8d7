"""The prompt: half a second of quiet tone, served as a WAV the way a customer's web server would."""

from __future__ import annotations

import io
import math
import struct
import wave

from aiohttp import web

SECONDS = 0.5
RATE = 8000


def wav() -> bytes:
    """16 bit mono at 8 kHz, a 440 Hz tone at a tenth of full scale."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        samples = (round(3276 * math.sin(2 * math.pi * 440 * n / RATE)) for n in range(round(SECONDS * RATE)))
        out.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()


class PromptServer:
    """Serves ``/prompt.wav`` on an address that the controller is allowed to fetch from."""

    def __init__(self, address: str, port: int = 28280) -> None:
        self.url = f"http://{address}:{port}/prompt.wav"
        self.requests = 0
        self._address = address
        self._port = port
        self._body = wav()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/prompt.wav", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, self._port).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        self.requests += 1
        # a server that allows caching: the file is fetched once, as it would be in a campaign
        return web.Response(
            body=self._body, content_type="audio/wav", headers={"Cache-Control": "max-age=86400"}
        )
