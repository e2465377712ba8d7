"""Callers who ring in: SIPp, run at a rate for a while, and what became of its calls."""

from __future__ import annotations

import asyncio
import csv
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCENARIOS = Path(__file__).with_name("sipp")
CALLER_NUMBER = "+15550001000"
PROMPT_SECONDS = 0.5
SLOW_SECONDS = 1.0
"""A call that is not answered by then counts as failed: an overloaded machine answers everything, much later."""
LATE_SECONDS = 3.0
"""How long a caller waits for the next thing to happen, beyond what the call itself lasts."""
ALLOWED_FAILURES = 0.001
KILLED = -1000


class SippFailed(Exception):
    """SIPp did not run as it should; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to call, and from which address."""

    name: str
    service: str
    """User of the request URI."""
    port: int
    address: str = "127.0.0.1"
    local_address: str = "127.0.0.1"
    provider: str = "00000000-0000-0000-0000-000000000000"
    scenario: str = "call"
    """What the caller does: ``sipp/<scenario>.xml``."""
    credentials: tuple[str, str, str] | None = None
    """A phone's extension, realm and password. Its ``service`` is dialled at ``domain``."""
    domain: str = ""
    lasts_seconds: float = PROMPT_SECONDS
    """How long a call lasts from its answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the calls of one run. ``setup_ms`` is INVITE to 200 as the caller saw it."""

    rate: int
    calls: int
    failed: int
    slow: int
    seconds: float
    """From the first call to the end of the last."""
    retransmissions: int
    setup_ms: Sequence[float]
    lagged: bool
    """SIPp itself could not keep the rate up."""

    @property
    def failure_share(self) -> float:
        # a call may be slow and fail as well
        return min((self.failed + self.slow) / self.calls, 1.0) if self.calls else 1.0

    @property
    def works(self) -> bool:
        """At most 0.1 % of the calls failed, at the rate that was asked for."""
        return not self.lagged and self.failure_share <= ALLOWED_FAILURES


async def call(
    target: Target,
    *,
    rate: int,
    calls: int,
    exact: bool = False,
    hold_seconds: float | None = None,
    port: int = 28200,
) -> Outcome:
    """Place ``calls`` calls at ``rate`` a second and wait until all have ended.

    ``exact`` times every message to the microsecond, which costs SIPp a line per message; without it set-up times
    are whole milliseconds. ``hold_seconds`` is for calls that last longer than the target says.
    """
    hold_seconds = target.lasts_seconds if hold_seconds is None else hold_seconds
    sipp = shutil.which("sipp")
    if sipp is None:
        raise SippFailed("SIPp is missing: install Debian's package sip-tester")
    with tempfile.TemporaryDirectory(prefix="ringline-bench-") as name:
        folder = Path(name)
        (folder / "packet.ulaw").write_bytes(b"\xff" * 160)
        seconds = calls / rate
        limit = seconds + hold_seconds + 2 * LATE_SECONDS + 5.0
        arguments = [
            sipp,
            f"{target.address}:{target.port}",
            *("-sf", str(SCENARIOS / f"{target.scenario}.xml"), "-s", target.service),
            *("-i", target.local_address, "-p", str(port), "-mi", target.local_address),
            *("-key", "caller", CALLER_NUMBER, "-key", "provider", target.provider),
            *_account(target),
            *("-m", str(calls), "-r", str(rate), "-l", str(calls)),
            *("-recv_timeout", str(round((hold_seconds + LATE_SECONDS) * 1000))),
            *("-timeout", str(round(limit)), "-timer_resol", "1", "-nostdin"),
            *("-trace_stat", "-stf", "stat.csv", "-fd", "1"),
            *(("-trace_shortmsg",) if exact else ("-trace_rtt", "-rtt_freq", "500")),
        ]
        with (folder / "output").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *arguments, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )
            began = time.monotonic()
            try:
                async with asyncio.timeout(limit + 2.0):
                    code = await process.wait()
            except TimeoutError:
                code = KILLED
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        elapsed = time.monotonic() - began
        # 97: its own time limit; KILLED: not even that. Both mean that calls did not end.
        if code not in (0, 1, 97, KILLED):
            tail = (folder / "output").read_text(errors="replace")[-600:]
            raise SippFailed(f"SIPp ended with {code}: {tail.strip()}")
        counts = _last_counts(folder / "stat.csv")
        setup = _exact_times(folder) if exact else _coarse_times(folder)
    created = counts.get("OutgoingCall(C)", 0)
    successful = counts.get("SuccessfulCall(C)", 0)
    return Outcome(
        rate=rate,
        calls=calls,
        failed=max(calls - successful, 0),
        slow=sum(1 for value in setup if value > SLOW_SECONDS * 1000),
        seconds=elapsed,
        retransmissions=counts.get("Retransmissions(C)", 0),
        setup_ms=setup,
        lagged=code == KILLED or created < calls or elapsed > (seconds + hold_seconds) * 1.1 + SLOW_SECONDS,
    )


def _account(target: Target) -> list[str]:
    if target.credentials is None:
        return []
    extension, realm, password = target.credentials
    keys = {"extension": extension, "realm": realm, "domain": target.domain}
    named = [word for name, value in keys.items() for word in ("-key", name, value)]
    return [*named, "-au", extension, "-ap", password]


def _last_counts(path: Path) -> dict[str, int]:
    """SIPp's counters at its end."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
    except OSError:
        raise SippFailed("SIPp left no statistics") from None
    if not rows:
        raise SippFailed("SIPp left empty statistics")
    return {name: int(value) for name, value in rows[-1].items() if name and value and value.isdigit()}


def _coarse_times(folder: Path) -> list[float]:
    return [
        float(line.split(";")[1])
        for path in folder.glob("*_rtt.csv")
        for line in path.read_text().splitlines()[1:]
    ]


def _exact_times(folder: Path) -> list[float]:
    """From ``-trace_shortmsg``: date, epoch seconds, S or R, Call-ID, CSeq, first line, separated by tabs."""
    sent: dict[str, float] = {}
    times = []
    for path in folder.glob("*_shortmessages.log"):
        for line in path.read_text(errors="replace").splitlines():
            fields = line.split("\t")
            if len(fields) < 7 or not fields[5].endswith("INVITE"):
                continue
            moment, way, call_id = float(fields[2]), fields[3], fields[4]
            if way == "S":
                sent.setdefault(call_id, moment)
            elif fields[6].startswith("SIP/2.0 200") and call_id in sent:
                times.append((moment - sent.pop(call_id)) * 1000)
    return times
