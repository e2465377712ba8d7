"""The controller's side of a worker process: started, spoken to, timed, replaced when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

MAX_ANSWER_BYTES = 65_536
START_SECONDS = 60.0
STOP_SECONDS = 1.0


class WorkerError(Exception):
    """A job was not done."""


class WorkerRefused(WorkerError):
    """The worker looked at the job's input and will not do it; another worker would not either."""


class WorkerCrashed(WorkerError):
    """The process died, hung, or failed on its own account."""


class WorkerBusy(WorkerError):
    """No process became free in time, or too many wait already; says nothing against the worker."""


class WorkerPool:
    """Up to ``size`` processes of one program (a module of `ringline.media.workers`).

    Processes start when first needed (or by `warm`), run one job at a time and are reused ``jobs_each`` times
    (0: always). A job that runs out of time costs its process its life, because nothing else stops native
    code.
    """

    def __init__(self, module: str, *, size: int, waiting: int = 64, jobs_each: int = 0) -> None:
        self._module = module
        self._waiting = waiting
        self._jobs_each = jobs_each
        self._free = asyncio.Semaphore(size)
        self._queued = 0
        self._working = 0
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False

    @property
    def running(self) -> int:
        """How many processes live now."""
        return len(self._all)

    @property
    def jobs(self) -> int:
        """How many jobs wait or are being worked on."""
        return self._queued + self._working

    @property
    def pids(self) -> list[int]:
        return [worker.pid for worker in self._all]

    async def warm(self) -> None:
        """Start one process ahead of need and wait until it is ready. Raises `WorkerCrashed`."""
        async with self._free:
            self._idle.append(await self._take())

    async def run(self, job: dict[str, Any], *, seconds: float) -> dict[str, Any]:
        """The answer to ``job``; waiting for a process and the work itself take at most ``seconds`` together.

        Raises `WorkerBusy`, `WorkerRefused` or `WorkerCrashed`.
        """
        if self._closed or self._queued >= self._waiting:
            raise WorkerBusy(f"{self._module}: {'closed' if self._closed else 'too many jobs wait'}")
        deadline = asyncio.get_running_loop().time() + seconds
        self._queued += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._free.acquire()
        except TimeoutError:
            raise WorkerBusy(f"{self._module}: no process became free within {seconds:g} s") from None
        finally:
            self._queued -= 1
        self._working += 1
        try:
            return await self._run_now(job, deadline)
        finally:
            self._working -= 1
            self._free.release()

    async def close(self) -> None:
        """End all processes. Jobs under way fail with `WorkerCrashed`."""
        self._closed = True
        self._idle.clear()
        await asyncio.gather(*(self._end(worker) for worker in list(self._all)))

    async def _run_now(self, job: dict[str, Any], deadline: float) -> dict[str, Any]:
        worker: _Worker | None = None
        healthy = False
        try:
            async with asyncio.timeout_at(deadline):
                worker = await self._take()
                answer = await worker.ask(job)
            healthy = answer["ok"] or answer.get("fault") == "input"
        except TimeoutError:
            raise WorkerCrashed(f"{self._module}: the job took too long") from None
        finally:
            if worker is not None:
                worker.jobs += 1
                if healthy and not self._closed and (not self._jobs_each or worker.jobs < self._jobs_each):
                    self._idle.append(worker)
                else:
                    await asyncio.shield(self._end(worker))
        if answer["ok"]:
            return answer
        if answer.get("fault") == "input":
            raise WorkerRefused(answer["error"])
        failure = WorkerCrashed(f"{self._module}: {answer['error']}")
        failure.__cause__ = OSError(answer["errno"], answer["error"]) if answer.get("errno") else None
        raise failure

    async def _take(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await self._end(worker)
        worker = await _Worker.spawn(self._module)
        self._all.add(worker)
        if self._closed:
            await asyncio.shield(self._end(worker))
            raise WorkerCrashed(f"{self._module}: closed")
        try:
            async with asyncio.timeout(START_SECONDS) as limit:
                await worker.answer()
        except TimeoutError:
            await asyncio.shield(self._end(worker))
            if limit.expired():
                raise WorkerCrashed(f"{self._module} was not ready within {START_SECONDS:g} s") from None
            raise
        except BaseException:
            await asyncio.shield(self._end(worker))
            raise
        return worker

    async def _end(self, worker: _Worker) -> None:
        await worker.end()
        self._all.discard(worker)


class _Worker:
    """One process. Nothing here is safe for two jobs at once; the pool sees to that."""

    def __init__(self, module: str, process: Process) -> None:
        self._module = module
        self._process = process
        self._ending: asyncio.Task[None] | None = None
        self._complaints = asyncio.create_task(self._log_complaints(), name=f"{module} stderr")
        self.jobs = 0

    @classmethod
    async def spawn(cls, module: str) -> _Worker:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the working directory is no place to import from
                "-m",
                module,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=clean_environment(),
                limit=MAX_ANSWER_BYTES,
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerCrashed(f"{module} cannot be started: {error}") from error
        return cls(module, process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            await self._process.stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            raise WorkerCrashed(f"{self._module} has died") from error
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        try:
            line = await self._process.stdout.readline()
            answer = json.loads(line)
        except ValueError as error:
            raise WorkerCrashed(f"{self._module} died without an answer") from error
        if not isinstance(answer, dict):
            raise WorkerCrashed(f"{self._module} answered nonsense")
        return answer

    async def end(self) -> None:
        """Kill the process and what it started, and give back its pipes. Idempotent."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(), name=f"{self._module} end")
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        # It leads a process group of its own, so that a program it runs does not outlive it.
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
                await self._complaints
        self._complaints.cancel()
        transport: asyncio.SubprocessTransport = self._process._transport  # type: ignore[attr-defined]
        transport.close()  # the only way to have the pipes closed now and not at garbage collection

    async def _log_complaints(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - for the type checker
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:
                continue
            if not line:
                return
            log.info(
                "media_worker_stderr", worker=self._module, line=line.decode(errors="replace").strip()[:500]
            )


def clean_environment() -> dict[str, str]:
    """Only what Python and the libraries need: the controller's secrets are in its environment."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "VIRTUAL_ENV", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
        if name in os.environ
    }
    package_root = str(Path(__file__).resolve().parents[2])
    return {
        **kept,
        "PYTHONPATH": package_root,
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # ONNX Runtime would report to its maker; nothing here tells anybody anything.
        "ORT_DISABLE_TELEMETRY": "1",
    }
