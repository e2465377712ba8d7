"""An Asterisk of a test's own: the project's image and configuration, its own ports, and itself as its neighbour.

What it dials comes back to itself, so both ends of a call are in the test's application, and it may be stopped and
killed without anybody else noticing.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.stack.containers import docker
from tests.stack.product import eventually

CHECKOUT = Path(__file__).parents[2]


def _free_ports(*kinds: socket.SocketKind) -> list[int]:
    """Ports that are free at this moment, each another one."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket(socket.AF_INET, kind)) for kind in kinds]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class OwnAsterisk:
    """``async with OwnAsterisk(env, "app") as asterisk``: incoming calls reach the application ``app``."""

    def __init__(self, env: Mapping[str, str], application: str) -> None:
        self.name = f"ringline-test-ari-{os.getpid()}-{secrets.token_hex(3)}"
        self.image = f"ringline/asterisk:{env.get('RINGLINE_IMAGE_TAG', 'dev')}"
        self.application = application
        self.username = "tester"
        self.password = secrets.token_hex(8)
        self.ari_port, self.ami_port, self.sip_port = _free_ports(
            socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ari_port}"

    def endpoint(self, number: str) -> str:
        """Dialling this brings a call to the application, with ``inbound`` and the number as arguments."""
        return f"PJSIP/kamailio/sip:{number}@127.0.0.1:{self.sip_port}"

    async def __aenter__(self) -> OwnAsterisk:
        settings = {
            "RINGLINE_ADVERTISED_ADDRESS": "127.0.0.1",
            "RINGLINE_AMI_PASSWORD": self.password,
            "RINGLINE_AMI_PORT": self.ami_port,
            "RINGLINE_AMI_USERNAME": self.username,
            "RINGLINE_ARI_APPLICATION": self.application,
            "RINGLINE_ARI_PASSWORD": self.password,
            "RINGLINE_ARI_PORT": self.ari_port,
            "RINGLINE_ARI_USERNAME": self.username,
            "RINGLINE_ASTERISK_SIP_PORT": self.sip_port,
            "RINGLINE_KAMAILIO_HOST": "127.0.0.1",
            "RINGLINE_KAMAILIO_PORT": self.sip_port,
            "RINGLINE_RTP_START": 22000,
            "RINGLINE_RTP_END": 22199,
        }
        folders = (
            "/etc/asterisk",
            *(f"/{place}/asterisk" for place in ("run", "var/lib", "var/log", "var/spool")),
        )
        await docker(
            "run",
            "--detach",
            *("--name", self.name),
            *("--network", "host"),
            *("--user", "101:101"),
            "--read-only",
            *(part for name, value in settings.items() for part in ("--env", f"{name}={value}")),
            *("--volume", f"{CHECKOUT / 'asterisk-config'}:/etc/ringline/asterisk:ro"),
            *(part for folder in folders for part in ("--tmpfs", f"{folder}:uid=101,gid=101")),
            *("--tmpfs", "/tmp", "--tmpfs", "/var/tmp"),
            self.image,
        )
        try:
            await self.booted()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await docker("rm", "--force", self.name)

    async def booted(self, within: float = 90.0) -> None:
        async def check() -> bool:
            await docker("exec", self.name, "asterisk-health.sh", "kamailio")
            return True

        await eventually(check, "Asterisk is up", within=within, every=0.5)

    async def stop_process(self) -> None:
        """SIGSTOP: sockets stay open, nothing answers."""
        await docker("kill", "--signal", "STOP", self.name)

    async def continue_process(self) -> None:
        await docker("kill", "--signal", "CONT", self.name)

    async def kill(self) -> None:
        await docker("kill", "--signal", "KILL", self.name)
        await asyncio.sleep(0.2)

    async def shut_down(self) -> None:
        """As an operator stops it: SIGTERM."""
        await docker("stop", "--time", "20", self.name, within=40)

    async def start(self) -> None:
        await docker("start", self.name)
