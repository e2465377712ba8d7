"""The parts of an installation as processes of their own: ``ringline serve --role api|controller|worker``."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import structlog
from redis.exceptions import RedisError

from ringline import __version__, chores, probes
from ringline.app import Controller, Process
from ringline.cluster.courier import Courier
from ringline.cluster.desk import Desk
from ringline.cluster.leases import Leases
from ringline.cluster.roll import Roll
from ringline.cluster.station import Station
from ringline.housekeeping import Chore, Housekeeper
from ringline.http import Readiness, Server
from ringline.http.application import operations_app
from ringline.http.endpoint import Endpoint
from ringline.operations import operations_of
from ringline.settings import Settings
from ringline.storage import Database, Live
from ringline.telemetry import loop_lag_seconds

log = structlog.get_logger(__name__)


def process(settings: Settings) -> Process:
    """What this process is to be."""
    match settings.role:
        case "api":
            return ApiProcess(settings)
        case "worker":
            return WorkerProcess(settings)
        case "controller":
            return ControllerProcess(settings)
    return Controller(settings)


def process_name(settings: Settings) -> str:
    """How others know this process: a new one is another one, whatever it is called."""
    return f"{settings.process_name or socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"


class ApiProcess:
    """Serves the API: what is in PostgreSQL by itself, what lives in a controller's memory by asking that one."""

    def __init__(self, settings: Settings) -> None:
        self._parts = Controller(settings)
        self._roll = Roll(self._parts.live, settings.asterisk_names)
        self._courier = Courier(self._parts.live, self._roll, process_name(settings))

    async def start(self) -> None:
        parts = self._parts
        probes.watch_stores(parts.readiness, parts.database, parts.live)
        probes.watch_edge(parts)
        parts.readiness.add("controllers", self._controllers)
        await parts.start_mirrors()
        await parts.begin("roll", self._roll.start, self._roll.close)
        await parts.begin("courier", self._courier.start, self._courier.close)
        await parts.start_rooms()
        await parts.start_housekeeping([Chore("edge", 10.0, parts.tell_edge)])
        await parts.serve(parts.application(self._courier.carry))
        log.info("api_started", version=__version__)

    async def drain(self, grace: float) -> None:
        """Requests in progress are waited for when it closes."""

    async def close(self) -> None:
        await self._parts.close()

    async def _controllers(self) -> str | None:
        if not self._roll.heard:
            raise ConnectionError("Redis does not answer, and controllers are reached by it")
        units = {unit.name: unit for unit in self._roll.units()}
        if not units:
            raise RuntimeError("no controller drives an Asterisk")
        absent = [name for name in self._roll.names if name not in units]
        said = ", ".join(f"{unit.name}: {unit.calls} calls" for unit in units.values())
        return f"{said}; nobody drives {', '.join(absent)}" if absent else said


class WorkerProcess:
    """Does what is to be done once: hands texts to vendors, carries out orders, deals with webhooks, sweeps."""

    def __init__(self, settings: Settings) -> None:
        self._parts = Controller(settings)

    async def start(self) -> None:
        parts = self._parts
        probes.watch_stores(parts.readiness, parts.database, parts.live)
        probes.watch_edge(parts)
        await parts.start_mirrors()
        await parts.start_rooms()
        await parts.start_housekeeping(chores.work_chores(parts))
        await parts.start_edge()
        await parts.serve(operations_app(parts.readiness))
        log.info("worker_started", version=__version__)

    async def drain(self, grace: float) -> None:
        """What is under way is given back when it closes."""

    async def close(self) -> None:
        await self._parts.close()


class ControllerProcess:
    """Drives Asterisks: its own, and those whose controllers have died."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._live = Live(settings.redis_url.get_secret_value())
        self._database = Database(settings.database_url.get_secret_value(), pool_size=2)
        self._readiness = Readiness()
        roll = Roll(self._live, settings.asterisk_names)
        self._station = Station(
            Leases(self._live, process_name(settings)), roll, settings.asterisk_names, self._unit
        )
        self._server: Server | None = None
        self._housekeeper = Housekeeper([], loop_lag_seconds.set)

    async def start(self) -> None:
        probes.watch_stores(self._readiness, self._database, self._live)
        self._readiness.add("asterisks", self._station.status)
        await self._station.start()
        await self._housekeeper.start()
        server = Server(operations_app(self._readiness), self._settings.api_host, self._settings.api_port)
        await server.start()
        self._server = server
        log.info("controller_started", version=__version__, role="controller")

    async def drain(self, grace: float) -> None:
        await self._station.drain(grace)

    async def close(self) -> None:
        await self._station.close()
        if self._server is not None:
            await self._server.close()
        await self._housekeeper.close()
        await self._live.close()
        await self._database.close()

    def _unit(self, name: str, epoch: int) -> DrivingUnit:
        return DrivingUnit(self._settings.of_asterisk(name), epoch)


class DrivingUnit:
    """Drives one Asterisk, and carries out what the API is asked of its calls (``cluster.station.Driver``)."""

    def __init__(self, settings: Settings, epoch: int) -> None:
        parts = self._parts = Controller(settings, epoch=epoch)
        operations = {
            (route.method, route.path): Endpoint(
                route,
                authenticator=parts.authentication,
                idempotency=parts.idempotency,
                max_body_bytes=settings.max_body_bytes,
                behind_tls=settings.api_url.startswith("https://"),
                auditor=parts.people.trail,
            ).perform
            for route in operations_of(parts)
            if route.runs != "anywhere"
        }
        stream = f"ringline:ask:{settings.asterisk_name}:{epoch}"
        self._stream = stream
        self._desk = Desk(parts.live, stream, operations, parts.owns)

    @property
    def calls_lasting(self) -> int:
        return self._parts.calls_lasting

    @property
    def serving(self) -> bool:
        return self._parts.serving

    @property
    def taking(self) -> bool:
        return self._parts.taking

    @property
    def trouble(self) -> str:
        return self._parts.trouble

    async def start(self) -> None:
        parts = self._parts
        await parts.start_calls()
        await parts.begin("desk", self._desk.start, self._desk.close)
        await parts.start_rooms()
        await parts.start_housekeeping(chores.call_chores(parts))

    async def drain(self, grace: float) -> None:
        await self._parts.drain(grace)

    async def close(self) -> None:
        with suppress(RedisError, OSError):
            await self._parts.live.client.delete(self._stream)
        await self._parts.close()
