"""Worker processes: crashes, hangs, limits, queues; nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ringline.media import worker
from ringline.media.worker import WorkerBusy, WorkerCrashed, WorkerPool, WorkerRefused

PROGRAM = """
import os, sys, time, subprocess
from ringline.media.workers.serve import Refused, serve, limit
def refuse(job): raise Refused("no such thing")
def fail(job): raise ValueError("bug")
def full(job): raise OSError(28, "No space left on device")
def nap(job): time.sleep(job["seconds"]); return {}
def spin(job):
    while True: pass
def die(job): os._exit(3)
def talk(job): print("noise on stdout"); print("complaint", file=sys.stderr); return {"pid": os.getpid()}
def facts(job): return {"nice": os.nice(0), "environment": dict(os.environ), "cwd_first": sys.path[0]}
def childnap(job): subprocess.run(["sleep", "61"])
def eat(job): return {"size": len(bytearray(2 * 1024**3))}
def write(job):
    with open(job["path"], "wb") as f:
        for _ in range(100): f.write(bytes(1024**2))
    return {}
limit(memory_bytes=1024**3, file_bytes=10 * 1024**2)
serve({f.__name__: f for f in (refuse, fail, full, nap, spin, die, talk, facts, childnap, eat, write)})
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "odd_worker.py").write_text(PROGRAM)
    environment = worker.clean_environment

    def with_program() -> dict[str, str]:
        found = environment()
        return {**found, "PYTHONPATH": f"{found['PYTHONPATH']}:{tmp_path}"}

    monkeypatch.setattr(worker, "clean_environment", with_program)
    return "odd_worker"


@asynccontextmanager
async def pool(program: str, **options: int) -> AsyncIterator[WorkerPool]:
    found = WorkerPool(program, **{"size": 1, **options})
    try:
        yield found
    finally:
        await found.close()
        assert found.running == 0


async def run(workers: WorkerPool, op: str, *, seconds: float = 60, **job: Any) -> dict[str, Any]:
    return await workers.run({"op": op, **job}, seconds=seconds)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_process_is_reused_and_prints_do_not_disturb(program: str) -> None:
    async with pool(program) as workers:
        first = await run(workers, "talk")
        second = await run(workers, "talk")
        assert first["pid"] == second["pid"]
        assert workers.pids == [first["pid"]]


async def test_a_process_for_strangers_serves_once(program: str) -> None:
    async with pool(program, jobs_each=1) as workers:
        first = await run(workers, "talk")
        await until(lambda: not alive(first["pid"]))
        assert (await run(workers, "talk"))["pid"] != first["pid"]


async def test_workers_are_nice_and_hold_no_secrets(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGLINE_JWT_SECRET", "secret")
    async with pool(program) as workers:
        facts = await run(workers, "facts")
    assert facts["nice"] >= 5
    assert "secret" not in str(facts["environment"])
    assert facts["cwd_first"] not in {"", str(Path.cwd())}


async def test_bad_input_is_answered_by_a_worker_that_goes_on(program: str) -> None:
    async with pool(program) as workers:
        pid = (await run(workers, "talk"))["pid"]
        with pytest.raises(WorkerRefused, match="no such thing"):
            await run(workers, "refuse")
        assert (await run(workers, "talk"))["pid"] == pid


async def test_a_bug_costs_the_process_and_nothing_else(program: str) -> None:
    async with pool(program) as workers:
        with pytest.raises(WorkerCrashed, match="ValueError: bug"):
            await run(workers, "fail")
        assert (await run(workers, "talk"))["ok"]


async def test_errors_of_the_disk_keep_their_number(program: str) -> None:
    async with pool(program) as workers:
        with pytest.raises(WorkerCrashed) as caught:
            await run(workers, "full")
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == 28


async def test_a_crash_is_reported_at_once_and_the_process_replaced(program: str) -> None:
    async with pool(program) as workers:
        started = time.monotonic()
        with pytest.raises(WorkerCrashed, match="died"):
            await run(workers, "die")
        assert time.monotonic() - started < 30
        pid = (await run(workers, "talk"))["pid"]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not any(one.alive for one in workers._all))
        assert (await run(workers, "talk"))["pid"] != pid


async def test_a_hang_ends_on_time_with_the_process_and_its_children(program: str) -> None:
    async with pool(program) as workers:
        await run(workers, "talk")
        (pid,) = workers.pids
        started = time.monotonic()
        with pytest.raises(WorkerCrashed, match="too long"):
            await run(workers, "childnap", seconds=0.3)
        assert time.monotonic() - started < 30
        await until(lambda: not alive(pid))
        await until(lambda: not _members(pid))


def _members(group: int) -> list[str]:
    return [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and alive(int(entry.name)) and _group(int(entry.name)) == group
    ]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


async def test_the_kernel_ends_a_process_that_spins(program: str) -> None:
    async with pool(program) as workers:
        with pytest.raises(WorkerCrashed, match="died"):
            await run(workers, "spin", seconds=90, cpu_seconds=0.5)


async def test_memory_and_files_are_bounded(program: str, tmp_path: Path) -> None:
    async with pool(program) as workers:
        with pytest.raises(WorkerCrashed, match="MemoryError"):
            await run(workers, "eat")
        with pytest.raises(WorkerCrashed, match="File too large"):
            await run(workers, "write", path=str(tmp_path / "big"))
        assert (tmp_path / "big").stat().st_size <= 10 * 1024**2


async def test_waiting_is_bounded_in_time_and_number(program: str) -> None:
    async with pool(program, waiting=2) as workers:
        await workers.warm()
        working = asyncio.create_task(workers.run({"op": "nap", "seconds": 4.0}, seconds=60))
        await until(lambda: workers.jobs == 1 and not workers._idle)
        waiting = [asyncio.create_task(run(workers, "talk", seconds=0.2)) for _ in range(3)]
        await asyncio.sleep(0)
        assert workers.jobs == 3
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert workers.jobs == 1
        assert [type(result) for result in results] == [WorkerBusy] * 3
        assert (await working)["ok"]
        assert workers.jobs == 0
        assert (await run(workers, "talk"))["ok"]


async def test_a_cancelled_job_does_not_answer_the_next_one(program: str) -> None:
    async with pool(program) as workers:
        await workers.warm()
        job = asyncio.create_task(workers.run({"op": "nap", "seconds": 50}, seconds=60))
        await asyncio.sleep(0.2)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert "pid" in await run(workers, "talk")


async def test_closing_ends_jobs_under_way(program: str) -> None:
    async with pool(program) as workers:
        await workers.warm()
        job = asyncio.create_task(workers.run({"op": "nap", "seconds": 50}, seconds=60))
        await asyncio.sleep(0.2)
        (pid,) = workers.pids
        await workers.close()
        with pytest.raises(WorkerCrashed):
            await job
        await until(lambda: not alive(pid))
        with pytest.raises(WorkerBusy, match="closed"):
            await run(workers, "talk")


async def test_a_program_that_never_gets_ready(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_worker.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(worker, "START_SECONDS", 0.3)
    async with pool("slow_worker") as workers:
        with pytest.raises(WorkerCrashed, match="not ready within"):
            await workers.warm()
        with pytest.raises(WorkerCrashed, match="not ready within"):
            await run(workers, "talk")
        monkeypatch.setattr(worker, "START_SECONDS", 60.0)
        with pytest.raises(WorkerCrashed, match="too long"):
            await run(workers, "talk", seconds=0.3)


async def test_a_program_that_does_not_exist(program: str) -> None:
    async with pool("ringline.media.workers.nothing") as workers:
        with pytest.raises(WorkerCrashed):
            await run(workers, "talk")


async def test_a_worker_ends_by_itself_when_the_controller_is_gone(program: str) -> None:
    code = (
        "import asyncio, os\n"
        "from ringline.media.worker import WorkerPool\n"
        "async def main():\n"
        "    pool = WorkerPool('ringline.media.workers.espeak', size=1)\n"
        "    await pool.warm()\n"
        "    print(pool.pids[0], flush=True)\n"
        "    os._exit(9)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    await process.wait()
    await until(lambda: not alive(pid))
