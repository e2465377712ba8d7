"""``./ringline`` as an operator types it, on the test instance."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.stack.containers import CHECKOUT


async def ringline(*arguments: str, folder: Path = CHECKOUT) -> tuple[int, str]:
    """Its exit status, and what it said. ``folder`` is the present one."""
    file = CHECKOUT / os.environ.get("RINGLINE_ENV_FILE", ".env.test")
    process = await asyncio.create_subprocess_exec(
        *(CHECKOUT / "ringline", *arguments),
        cwd=folder,
        env={"RINGLINE_ENV_FILE": str(file), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 100)
    return process.returncode or 0, output.decode()
