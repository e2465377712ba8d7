"""Debian's baresip as a telephone of the tests: a real softphone with an address of its own, that hums and listens.

Habits of version 1.0: ``net_interface`` takes an address and not the name of an interface, ``stdio`` wants a
terminal, ``ausine`` hums at 48 kHz only (so a file hums), ``aufile`` plays nothing (``aubridge`` swallows what is
heard, ``sndfile`` keeps it). It is spoken to over its control socket (``ctrl_tcp``: JSON in netstrings).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.stack.audio import RATE, Samples
from tests.stack.product import eventually

Event = dict[str, Any]

_CONFIG = """\
poll_method epoll
sip_listen {host}:{port}
net_interface {host}
sip_trans_def {transport}
call_local_timeout 120
call_max_calls 8
audio_source {source}
audio_player aubridge,nowhere
audio_alert aubridge,nowhere
audio_channels 1
ausrc_srate 8000
auplay_srate 8000
ausrc_format s16
auplay_format s16
rtp_ports {rtp}-{rtp_end}
rtp_stats no
jitter_buffer_delay 3-10
snd_path {heard}
ctrl_tcp_listen {host}:{control}
module_path /usr/lib/baresip/modules
module g711.so
module g722.so
module opus.so
module aufile.so
module aubridge.so
module sndfile.so
module srtp.so
module uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
"""
_EMPTY_WAV = 64
_hosts = itertools.count(41)


@dataclass(frozen=True)
class Account:
    """Who a telephone is, and where it registers. ``proxy`` is ``address:port``; ``parameters`` as baresip's accounts
    have them (``mediaenc=srtp-mand``)."""

    user: str
    realm: str
    password: str
    proxy: str
    transport: str = "udp"
    name: str = ""
    registers: bool = True
    parameters: tuple[str, ...] = ()

    def line(self, answer: str, codecs: str) -> str:
        shown = f'"{self.name}" ' if self.name else ""
        parts = [
            f"{shown}<sip:{self.user}@{self.realm};transport={self.transport}>",
            f"auth_user={self.user}",
            f"auth_pass={self.password}",
            f'outbound="sip:{self.proxy};transport={self.transport}"',
            f"regint={60 if self.registers else 0}",
            f"answermode={answer}",
            f"audio_codecs={codecs}",
            *self.parameters,
        ]
        return ";".join(parts) + "\n"


def account(
    env: Mapping[str, str], user: str = "test11", *, transport: str = "udp", password: str = "", **more: Any
) -> Account:
    """One of the first customer's extensions on the test instance."""
    port = {
        "udp": "RINGLINE_KAMAILIO_PORT",
        "tcp": "RINGLINE_KAMAILIO_PORT",
        "tls": "RINGLINE_KAMAILIO_TLS_PORT",
    }
    return Account(
        user,
        more.pop("realm", f"test.{env['RINGLINE_SIP_DOMAIN']}"),
        password or env["RINGLINE_EXTENSION_PASSWORD"],
        f"{env.get('RINGLINE_KAMAILIO_HOST', '127.0.0.1')}:{env[port[transport]]}",
        transport,
        **more,
    )


class Baresip:
    """One running baresip. ``tone`` (Hz) is what it says; a WAV file may stand in for it (``source``)."""

    def __init__(
        self, account: Account, directory: Path, host: str, process: asyncio.subprocess.Process
    ) -> None:
        self.account = account
        self.host = host
        self.directory = directory
        self.events: list[Event] = []
        self._process = process
        self._news = asyncio.Event()
        self._answers: dict[str, asyncio.Future[Event]] = {}
        self._tokens = itertools.count(1)
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._forgotten: set[Path] = set()

    @classmethod
    async def start(
        cls,
        account: Account,
        *,
        tone: int = 440,
        source: Path | None = None,
        answer: str = "manual",
        codecs: str = "PCMU",
        host: str = "",
    ) -> Baresip:
        """Run it. ``answer``: ``manual`` (rings until ``answer()``) or ``auto``. ``host``: 127.0.0.x of its own."""
        host = host or f"127.0.0.{next(_hosts)}"
        directory = Path(tempfile.mkdtemp(prefix="baresip-"))
        (directory / "heard").mkdir()
        sip, control = _free_port(host), _free_port(host, socket.SOCK_STREAM)
        rtp = _free_port(host) // 2 * 2
        config = _CONFIG.format(
            host=host,
            port=sip,
            transport=account.transport,
            source=f"aufile,{source or _hum(directory, tone)}",
            rtp=min(rtp, 65000),
            rtp_end=min(rtp, 65000) + 200,
            heard=directory / "heard",
            control=control,
        )
        (directory / "config").write_text(config)
        (directory / "accounts").write_text(account.line(answer, codecs))
        (directory / "contacts").write_text("")
        with (directory / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                "baresip", "-s", "-f", str(directory), stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log
            )
        phone = cls(account, directory, host, process)
        try:
            await phone._connect(control)
        except BaseException:
            await phone.stop()
            raise
        return phone

    async def stop(self) -> None:
        """End it: it hangs up and takes its registration away."""
        if self._process.returncode is None and self._writer is not None:
            with contextlib.suppress(OSError, TimeoutError, AssertionError):
                await self.command("quit", within=2.0)
        try:
            await asyncio.wait_for(self._process.wait(), 3.0)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    async def kill(self) -> None:
        """End it as a power cut does: it says nothing to anybody."""
        self._process.kill()
        await self._process.wait()

    @property
    def log(self) -> str:
        """What it wrote, SIP messages among it."""
        return (self.directory / "log").read_text(errors="replace")

    # what it is told

    async def command(self, name: str, parameters: str = "", within: float = 15.0) -> str:
        """A command of baresip's menu; its output."""
        assert self._writer is not None
        token = str(next(self._tokens))
        answer: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._answers[token] = answer
        text = json.dumps({"command": name, "params": parameters, "token": token}).encode()
        self._writer.write(b"%d:%b," % (len(text), text))
        found = await asyncio.wait_for(answer, within)
        assert found.get("ok"), found
        return str(found.get("data", ""))

    async def dial(self, whom: str) -> None:
        """Call a number, an extension of the same realm, or a SIP address."""
        await self.command("dial", whom if whom.startswith("sip:") else f"sip:{whom}@{self.account.realm}")

    async def answer(self) -> None:
        """Take the call that rings."""
        await self.command("accept")

    async def hang_up(self) -> None:
        await self.command("hangup")

    async def press(self, digits: str) -> None:
        """Send keys in RFC 4733 events."""
        for digit in digits:
            await self.command("sndcode", digit)
            await asyncio.sleep(0.25)

    async def hold(self) -> None:
        await self.command("hold")

    async def resume(self) -> None:
        await self.command("resume")

    async def transfer(self, whom: str) -> None:
        """Send the other party to somebody else (REFER)."""
        target = whom if whom.startswith("sip:") else f"sip:{whom}@{self.account.realm}"
        await self.command("transfer", target)

    # what it says

    async def event(self, *kinds: str, within: float = 30.0, where: Callable[[Event], bool] = bool) -> Event:
        """The first event of one of these kinds, from the beginning: ``CALL_RINGING`` (180 came), ``CALL_PROGRESS``
        (183), ``CALL_ESTABLISHED``, ``CALL_CLOSED`` (``param`` says why), ``CALL_INCOMING``, ``REGISTER_OK``, ..."""
        deadline = time.monotonic() + within
        while True:
            self._news.clear()
            for event in self.events:
                if event.get("type") in kinds and where(event):
                    return event
            left = deadline - time.monotonic()
            assert left > 0, f"none of {kinds} within {within:g} s: {self.kinds()}\n{self.log[-3000:]}"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)

    def kinds(self) -> list[str]:
        """The kinds of all events so far, in order."""
        return [str(event.get("type")) for event in self.events]

    def forget(self) -> None:
        """Begin anew, with events and with what it hears."""
        self.events.clear()
        self._forgotten = set(self._files())

    async def registered(self, within: float = 40.0) -> Baresip:
        """Wait until it is; where that was before anybody listened to events, its log says so."""

        async def seen() -> bool:
            return "REGISTER_OK" in self.kinds() or "200 OK () [" in self.log

        await eventually(seen, f"{self.account.user} is registered", within=within, every=0.05)
        return self

    def heard(self) -> Samples:
        """All that it heard since ``forget``, at 8 kHz, early media first. A call that lasts may lack a second."""
        pieces: list[Samples] = [np.zeros(0)]
        for path in self._files():
            if path not in self._forgotten and path.stat().st_size > _EMPTY_WAV:
                sound, rate = soundfile.read(path, dtype="float64", always_2d=True)
                pieces.append((sound[:, 0] * 32768)[:: max(1, rate // RATE)])
        return np.concatenate(pieces)

    def _files(self) -> list[Path]:
        return sorted((self.directory / "heard").glob("*-dec.wav"), key=lambda path: path.stat().st_mtime)

    def pitch(self, seconds: float = 1.0) -> float:
        """The loudest frequency (Hz) in the last ``seconds`` that it heard, 0 for silence."""
        return pitch(self.heard()[-int(seconds * RATE) :])

    # the control socket

    async def _connect(self, port: int) -> None:
        deadline = time.monotonic() + 30.0
        while True:
            try:
                reader, self._writer = await asyncio.open_connection(self.host, port)
                break
            except OSError:
                assert self._process.returncode is None, self.log
                assert time.monotonic() < deadline, self.log
                await asyncio.sleep(0.05)
        self._reading = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int((await reader.readuntil(b":"))[:-1])
                message: Event = json.loads((await reader.readexactly(length + 1))[:-1])
                if message.get("response"):
                    waiting = self._answers.pop(str(message.get("token")), None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
                    continue
                self.events.append({**message, "at": time.monotonic()})
                self._news.set()


@asynccontextmanager
async def phones(env: Mapping[str, str], *users: str, **options: Any) -> AsyncIterator[list[Baresip]]:
    """Registered telephones of the first customer, one for each name, with tones of 440, 550, 660, ... Hz."""
    made: list[Baresip] = []
    try:
        for index, user in enumerate(users):
            options.setdefault("tone", 440)
            tone = options["tone"] + 110 * index
            made.append(await Baresip.start(account(env, user), **{**options, "tone": tone}))
        await asyncio.gather(*(phone.registered() for phone in made))
        yield made
    finally:
        await asyncio.gather(*(phone.stop() for phone in made))


def pitch(sound: Samples) -> float:
    """The loudest frequency of a sound of 8 kHz in Hz, 0 for silence (or too little of it)."""
    if sound.size < RATE // 4 or float(np.abs(sound).max()) < 100:
        return 0.0
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size)))
    return float(np.fft.rfftfreq(sound.size, 1 / RATE)[int(spectrum.argmax())])


def _hum(directory: Path, frequency: int, seconds: float = 120.0) -> Path:
    path = directory / "tone.wav"
    moments = np.arange(int(seconds * RATE)) / RATE
    soundfile.write(path, 0.2 * np.sin(2 * np.pi * frequency * moments), RATE, subtype="PCM_16")
    return path


def _free_port(host: str, kind: int = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
