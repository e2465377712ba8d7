"""An instance of the stack for the bench alone: its own ports, project, database and files."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bench import usage

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "ringline-bench"
FOLDER = "var/bench"
ENV_FILE = f"{FOLDER}/env"
PROMPT_ADDRESS = "127.0.0.2"
UP_SECONDS = 900.0
DOWN_SECONDS = 90.0

VALUES = {
    "RINGLINE_API_PORT": 28080,
    "RINGLINE_KAMAILIO_PORT": 28060,
    "RINGLINE_KAMAILIO_TLS_PORT": 28061,
    "RINGLINE_KAMAILIO_WS_PORT": 28066,
    "RINGLINE_KAMAILIO_WSS_PORT": 28067,
    "RINGLINE_HEP_PORT": 28960,
    "RINGLINE_ASTERISK_SIP_PORT": 28070,
    "RINGLINE_ARI_PORT": 28088,
    "RINGLINE_AMI_PORT": 28038,
    # 500 held calls take 1000 ports, and a rate of hundreds a second takes as many again
    "RINGLINE_RTP_START": 22000,
    "RINGLINE_RTP_END": 27999,
    "RINGLINE_CARRIER_SIP_PORT": 28090,
    "RINGLINE_CARRIER_RTP_START": 29000,
    "RINGLINE_CARRIER_RTP_END": 29999,
    "RINGLINE_CARRIER_CONTROL_PORT": 28091,
    "RINGLINE_POSTGRES_PORT": 28432,
    "RINGLINE_REDIS_PORT": 28379,
    "RINGLINE_PROJECT": PROJECT,
    "RINGLINE_VAR_DIR": f"./{FOLDER}",
    "RINGLINE_BENCH": 1,
    "RINGLINE_FETCH_ALLOWED_NETWORKS": f"{PROMPT_ADDRESS}/32",
    # requests are counted as everywhere, and never refused
    "RINGLINE_MAX_REQUESTS_PER_SECOND": 100_000,
    "RINGLINE_MAX_REQUESTS_BURST": 200_000,
    "RINGLINE_MAX_REQUESTS_PER_SECOND_PER_CREDENTIAL": 100_000,
    "RINGLINE_MAX_REQUESTS_BURST_PER_CREDENTIAL": 200_000,
}
"""What differs from a fresh ``.env``; ``scripts/env.sh`` adds the rest, with random secrets."""


LOCK_FILE = Path(tempfile.gettempdir()) / "ringline-bench.lock"
LOCK_SECONDS = 600.0


class InstanceFailed(Exception):
    """The stack could not be brought up; the text says why."""


@asynccontextmanager
async def alone() -> AsyncIterator[None]:
    """One bench at a time on a machine, of whatever checkout: they have the same ports, and disturb each other."""
    try:
        lock = os.open(LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        lock = os.open(LOCK_FILE, os.O_RDONLY | os.O_CREAT, 0o644)
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise InstanceFailed(
                        "another bench has been running on this machine for too long"
                    ) from None
                await asyncio.sleep(1.0)
        yield
    finally:
        os.close(lock)


class Instance:
    """The bench's stack while it runs. ``pids`` are the first processes of its containers by service."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.pids: dict[str, int] = {}
        self.keepers: list[int] = []
        """The engine's process beside each container: its health checks run under it."""

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def port(self, name: str) -> int:
        return int(self.values[f"RINGLINE_{name}_PORT"])

    async def up(self) -> None:
        """Start with an empty database and wait until every part is healthy. Raises ``InstanceFailed``."""
        folder = ROOT / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        await self.down()
        env_file = ROOT / ENV_FILE
        env_file.touch(mode=0o600)
        env_file.write_text("".join(f"{name}={value}\n" for name, value in VALUES.items()))
        log = folder / "up.log"
        code = await self._script("scripts/up.sh", log=log, seconds=UP_SECONDS)
        if code:
            raise InstanceFailed(f"the stack did not come up: {tail(log)}")
        self.values = read_env(env_file)
        self.pids = await asyncio.to_thread(container_pids)
        processes = usage.Processes()
        self.keepers = [parent for pid in self.pids.values() if (parent := processes.parent(pid)) > 1]
        missing = {"asterisk", "kamailio", "controller", "postgres", "redis"} - self.pids.keys()
        if missing:
            raise InstanceFailed(f"these containers do not run: {', '.join(sorted(missing))}")

    async def down(self) -> None:
        """Stop it and remove its data, also what a bench of another checkout left that did not end by itself: the
        database of that one has another password. Raises ``InstanceFailed``.
        """
        log = ROOT / FOLDER / "down.log"
        if await self._script("scripts/reset.sh", log=log, seconds=DOWN_SECONDS):
            raise InstanceFailed(f"the stack could not be stopped: {tail(log)}")
        self.pids = {}
        self.keepers = []

    def controller_pid(self) -> int:
        """The controller itself, not the media workers beside it."""
        for pid in usage.Processes().tree(self.pids["controller"]):
            words = usage.command(pid).split()
            if "serve" in words:
                return pid
        return self.pids["controller"]

    async def asterisk(self, command: str) -> None:
        """Run a command in Asterisk's console. Raises ``InstanceFailed``."""
        await asyncio.to_thread(_docker, "exec", f"{PROJECT}-asterisk-1", "asterisk", "-rx", command)

    async def restart(self, service: str) -> None:
        """Stop and start one container. Raises ``InstanceFailed``."""
        await asyncio.to_thread(_docker, "restart", f"{PROJECT}-{service}-1")
        self.pids = await asyncio.to_thread(container_pids)

    def keep_logs(self) -> None:
        """Write what the containers said to ``var/bench/<service>.log``."""
        for service in self.pids:
            with (ROOT / FOLDER / f"{service}.log").open("wb") as file:
                subprocess.run(
                    ["docker", "logs", f"{PROJECT}-{service}-1"],
                    stdout=file,
                    stderr=file,
                    timeout=30,
                    check=False,
                )

    async def _script(self, *arguments: str, log: Path, seconds: float) -> int:
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                cwd=ROOT,
                env=_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
            try:
                async with asyncio.timeout(seconds):
                    return await process.wait()
            except TimeoutError:
                return 124
            finally:
                if process.returncode is None:
                    process.terminate()
                    await process.wait()


def _environment() -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RINGLINE_")}
    tag = os.environ.get("RINGLINE_IMAGE_TAG")
    if tag:
        kept["RINGLINE_IMAGE_TAG"] = tag
    return kept | {
        "RINGLINE_INSTANCE": "default",
        "RINGLINE_ENV_FILE": ENV_FILE,
        "RINGLINE_PROJECT": PROJECT,
        "RINGLINE_VAR_DIR": f"./{FOLDER}",
        # its data is nobody's: scripts/reset.sh need not ask
        "FORCE": "1",
    }


def read_env(path: Path) -> dict[str, str]:
    """An environment file's values."""
    pairs = (line.partition("=") for line in path.read_text().splitlines() if line and line[0] != "#")
    return {name: value.strip().strip("'\"") for name, _, value in pairs}


def container_pids() -> dict[str, int]:
    """Service name to the id of its container's first process, as this machine sees it."""
    wanted = f"label=com.docker.compose.project={PROJECT}"
    ids = _docker("ps", "--quiet", "--filter", wanted).split()
    if not ids:
        return {}
    lines = _docker(
        "inspect", "--format", '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Pid}}', *ids
    ).splitlines()
    return {service: int(pid) for service, pid in (line.split() for line in lines) if pid != "0"}


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise InstanceFailed(f"docker {arguments[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout


def tail(log: Path, lines: int = 12) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
