"""The AMI monitor against a scripted Manager Interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ringline.ari import AriError, ConnectionLost, RequestTimeout, Unauthorized
from ringline.ari.ami import AmiMonitor, Boot, Quality, SecurityEvent


class FakeAmi:
    """Asterisk's Manager Interface: a banner, blocks of ``Name: value`` lines, an empty line after each."""

    def __init__(self) -> None:
        self.started = ("2026-11-21", "10:00:00")
        self.silent = False
        self.booted = True
        self.actions: list[dict[str, str]] = []
        self.logins = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0)

    def event(self, name: str, **fields: str) -> None:
        for writer in self._writers:
            self._write(writer, {"Event": name, **fields})

    @staticmethod
    def _write(writer: asyncio.StreamWriter, *blocks: dict[str, Any]) -> None:
        for block in blocks:
            lines = []
            for name, value in block.items():
                lines += [f"{name}: {item}" for item in (value if isinstance(value, list) else [value])]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Asterisk Call Manager/11.0.0\r\n")
        self._writers.append(writer)
        try:
            while True:
                block = (await reader.readuntil(b"\r\n\r\n")).decode()
                action = dict(line.split(": ", 1) for line in block.strip().split("\r\n"))
                self.actions.append(action)
                if not self.silent:
                    self._answer(writer, action)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if writer in self._writers:
                self._writers.remove(writer)
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, action: dict[str, str]) -> None:
        head = {"ActionID": action["ActionID"]}
        name = action["Action"]
        if name == "Login":
            if action["Secret"] != "secret":
                self._write(writer, {"Response": "Error", **head, "Message": "Authentication failed"})
                return
            self.logins += 1
            self._write(writer, {"Response": "Success", **head, "Message": "Authentication accepted"})
            if self.booted:
                self._write(writer, {"Event": "FullyBooted", "Uptime": "42", "Status": "Fully Booted"})
        elif name == "CoreStatus":
            date, time = self.started
            self._write(
                writer, {"Response": "Success", **head, "CoreStartupDate": date, "CoreStartupTime": time}
            )
        elif name == "Command" and action["Command"] == "core show uptime":
            self._write(
                writer,
                {
                    "Response": "Success",
                    **head,
                    "Message": "Command output follows",
                    "Output": ["System uptime: 1 second", "Last reload: 1 second"],
                },
            )
        elif name == "Ping":
            self._write(writer, {"Response": "Success", **head, "Ping": "Pong"})
        elif name != "Hang":
            self._write(writer, {"Response": "Error", **head, "Message": "Invalid/unknown command"})


class Reports:
    def __init__(self) -> None:
        self.boots: list[Boot] = []
        self.lost: list[str] = []
        self.shutdowns = 0
        self.security: list[SecurityEvent] = []
        self.quality: list[Quality] = []
        self.events: list[str] = []

    def monitor(self, ami: FakeAmi, secret: str = "secret") -> AmiMonitor:
        def shutdown() -> None:
            self.shutdowns += 1

        return AmiMonitor(
            "127.0.0.1",
            ami.port,
            "ringline",
            secret,
            on_boot=self.boots.append,
            on_lost=self.lost.append,
            on_shutdown=shutdown,
            on_security=self.security.append,
            on_quality=self.quality.append,
            on_event=lambda event: self.events.append(event["Event"]),
        )


async def until(condition: Any, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def ami() -> AsyncIterator[FakeAmi]:
    fake = FakeAmi()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def reports(ami: FakeAmi) -> AsyncIterator[tuple[AmiMonitor, Reports]]:
    reports = Reports()
    monitor = reports.monitor(ami)
    await monitor.start(5)
    yield monitor, reports
    await monitor.close()


async def test_a_boot_is_reported_after_login(reports: tuple[AmiMonitor, Reports]) -> None:
    monitor, seen = reports
    assert monitor.booted
    assert seen.boots == [Boot(restarted=False, started="2026-11-21 10:00:00", uptime_seconds=42)]


async def test_a_cut_is_not_a_restart_and_a_restart_is(
    ami: FakeAmi, reports: tuple[AmiMonitor, Reports]
) -> None:
    monitor, seen = reports
    await ami.stop()
    await until(lambda: seen.lost)
    with pytest.raises(ConnectionLost):
        await monitor.action("Ping")
    await ami.start()
    await until(lambda: len(seen.boots) == 2)
    ami.started = ("2026-11-21", "11:00:00")
    await ami.stop()
    await ami.start()
    await until(lambda: len(seen.boots) == 3)

    assert [boot.restarted for boot in seen.boots] == [False, False, True]
    assert ami.logins == 3


async def test_a_silent_asterisk_is_noticed(
    ami: FakeAmi, reports: tuple[AmiMonitor, Reports], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringline.ari.ami.PING_EVERY", 0.1)
    monkeypatch.setattr("ringline.ari.ami.PING_TIMEOUT", 0.3)
    _, seen = reports
    await until(lambda: any(action["Action"] == "Ping" for action in ami.actions))
    ami.silent = True
    await until(lambda: seen.lost)
    assert "ping" in seen.lost[0]


async def test_a_wrong_password_is_told(ami: FakeAmi) -> None:
    monitor = Reports().monitor(ami, secret="wrong")
    with pytest.raises(Unauthorized):
        await monitor.start(1)
    assert not monitor.booted
    await monitor.close()


async def test_an_asterisk_that_boots_late_is_waited_for(ami: FakeAmi) -> None:
    ami.booted = False
    seen = Reports()
    monitor = seen.monitor(ami)
    with pytest.raises(RequestTimeout):
        await monitor.start(0.3)
    ami.event("FullyBooted", Uptime="1")
    await until(lambda: seen.boots)
    await monitor.close()


async def test_security_and_quality_are_reported_in_units(
    ami: FakeAmi, reports: tuple[AmiMonitor, Reports]
) -> None:
    _, seen = reports
    ami.event("SuccessfulAuth", Service="AMI", AccountID="ringline")
    ami.event(
        "InvalidPassword",
        Severity="Error",
        Service="PJSIP",
        AccountID="1001",
        RemoteAddress="IPV4/UDP/192.0.2.1/5060",
    )
    ami.event(
        "RTCPReceived",
        Channel="PJSIP/kamailio-1",
        Uniqueid="c1",
        RTT="0.0250",
        Report0FractionLost="64",
        Report0CumulativeLost="7",
        Report0IAJitter="80",
    )
    ami.event("RTCPSent", Channel="PJSIP/kamailio-1", Uniqueid="c1", ReportCount="0")
    ami.event("Shutdown", Shutdown="Cleanly", Restart="False")
    await until(lambda: seen.shutdowns)

    assert [event.kind for event in seen.security] == ["InvalidPassword"]
    assert seen.security[0].remote_address == "IPV4/UDP/192.0.2.1/5060"
    received, sent = seen.quality
    assert (received.channel_id, received.direction) == ("c1", "received")
    assert (received.round_trip_ms, received.jitter_ms, received.fraction_lost, received.lost) == (
        25,
        10,
        0.25,
        7,
    )
    assert (sent.direction, sent.round_trip_ms, sent.lost) == ("sent", None, None)


async def test_actions_answer_fail_or_time_out(ami: FakeAmi, reports: tuple[AmiMonitor, Reports]) -> None:
    monitor, _ = reports
    assert (await monitor.action("Ping"))["Ping"] == "Pong"
    assert await monitor.command("core show uptime") == "System uptime: 1 second\nLast reload: 1 second"
    with pytest.raises(AriError, match="unknown command"):
        await monitor.action("Nonsense")
    with pytest.raises(RequestTimeout):
        await monitor.action("Hang", seconds=0.1)


async def test_a_callback_that_fails_harms_nobody(ami: FakeAmi) -> None:
    boots: list[Boot] = []

    def broken(event: dict[str, str]) -> None:
        raise RuntimeError("broken")

    monitor = AmiMonitor("127.0.0.1", ami.port, "ringline", "secret", on_event=broken, on_boot=boots.append)
    await monitor.start(5)
    ami.event("Reload")
    await asyncio.sleep(0.05)
    assert (await monitor.action("Ping"))["Ping"] == "Pong"
    await monitor.close()
    assert not monitor.booted


async def test_closing_while_disconnected_ends_everything(ami: FakeAmi) -> None:
    monitor = Reports().monitor(ami)
    await monitor.start(5)
    await ami.stop()
    await until(lambda: not monitor.booted)
    await monitor.close()
    await ami.start()
    before = ami.logins
    await asyncio.sleep(2.5)
    assert ami.logins == before
