"""What may happen to the parts of the test instance: signals to their processes, restarts, ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.stack.product import eventually

CHECKOUT = Path(__file__).parents[2]


class Containers:
    """The services of the test instance's compose project."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.project = env.get("RINGLINE_PROJECT", "ringline-test")
        self.image = f"ringline/ringline:{env.get('RINGLINE_IMAGE_TAG', 'dev')}"

    async def state(self, service: str) -> dict[str, Any]:
        """What the engine says of the service's container."""
        found: list[dict[str, Any]] = json.loads(await docker("inspect", await self._id(service)))
        return found[0]

    async def life(self, service: str) -> tuple[str, int]:
        """When the service was started and how often it was restarted: the same pair means that it stayed up."""
        state = await self.state(service)
        return state["State"]["StartedAt"], state["RestartCount"]

    async def signal(self, service: str, name: str) -> None:
        """Send ``STOP``, ``CONT`` or ``KILL`` to the service's first process.

        Past the engine: a container that the engine is told to kill counts as stopped on purpose, and its restart
        policy would not be tried.
        """
        pid = (await self.state(service))["State"]["Pid"]
        assert pid, f"{service} does not run"
        script = f"kill -{name} {pid}"
        await docker(
            "run", "--rm", "--pid", "host", "--user", "0", "--entrypoint", "sh", self.image, "-c", script
        )

    @asynccontextmanager
    async def stopped(self, service: str) -> AsyncIterator[None]:
        """The service's process stands still, its sockets stay open."""
        try:
            await self.signal(service, "STOP")
            yield
        finally:
            await self.signal(service, "CONT")

    @asynccontextmanager
    async def frozen(self, service: str) -> AsyncIterator[None]:
        """All of the service's processes stand still, where ``stopped`` holds the first one only."""
        container = await self._id(service)
        await docker("pause", container)
        try:
            yield
        finally:
            await docker("unpause", container)

    async def stop(self, service: str) -> None:
        await docker("stop", "--time", "20", await self._id(service), within=60)

    async def kill(self, service: str) -> None:
        """End the service at once (SIGKILL); it stays away until it is started."""
        await docker("kill", "--signal", "KILL", await self._id(service))

    async def start(self, service: str) -> None:
        await docker("start", await self._id(service))

    async def healthy(self, service: str, within: float = 60.0) -> None:
        """Wait until the container's own health check succeeds; run here, for the engine runs it seldom."""

        async def check() -> bool:
            state = await self.state(service)
            kind, *test = state["Config"]["Healthcheck"]["Test"]
            if not state["State"]["Running"]:
                return False
            status, _ = await self.run(service, *(test if kind == "CMD" else ("sh", "-c", *test)))
            return status == 0

        await eventually(check, f"{service} is healthy", within=within, every=0.3)

    async def said(self, service: str, words: str, since: float) -> list[str]:
        """Lines of the service's log with ``words``, from ``since`` (seconds since 1970) on."""
        log = await docker("logs", "--since", f"{since:.3f}", await self._id(service))
        return [line for line in log.splitlines() if words in line]

    async def run(self, service: str, *command: str, within: float = 60.0) -> tuple[int, str]:
        """Exit status and output of a command inside the service's container."""
        return await _run("docker", "exec", await self._id(service), *command, within=within)

    async def _id(self, service: str) -> str:
        label = "label=com.docker.compose"
        filters = (f"{label}.project={self.project}", f"{label}.service={service}", f"{label}.oneoff=False")
        output = await docker(
            "ps", "--all", "--quiet", *(part for one in filters for part in ("--filter", one))
        )
        found = output.split()
        assert len(found) == 1, f"{len(found)} containers of {service} in {self.project}"
        return found[0]


async def docker(*arguments: str, within: float = 60.0) -> str:
    """The output of a docker command that succeeds."""
    status, output = await _run("docker", *arguments, within=within)
    assert status == 0, f"docker {' '.join(arguments)}: {status}\n{output}"
    return output


async def _run(*command: str, within: float) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), within)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace")
