"""The controller put together: every part made once, started in order, stopped in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import structlog
import uvloop
from aiohttp import web

from ringline import __version__, ari, telemetry, watch
from ringline.billing import BillingService, billing_routes
from ringline.calls import control_http, metrics
from ringline.calls import http as calls_http
from ringline.calls.amd import MachineDetector
from ringline.calls.background import Backgrounds
from ringline.calls.bridges import Bridges
from ringline.calls.connection import Connections
from ringline.calls.control import Controls
from ringline.calls.conversation import KeptConversations
from ringline.calls.destinations import Destinations
from ringline.calls.echo import Echoes
from ringline.calls.inbound import Inbound
from ringline.calls.journal import Journal
from ringline.calls.live_state import KeptFlow, LiveState
from ringline.calls.membership import Gatherings
from ringline.calls.notes import FailureNotes
from ringline.calls.ordering import Ordering
from ringline.calls.reconcile import Reconciler
from ringline.calls.recovery import Found, Recovery, Restores
from ringline.calls.ringback import Ringback
from ringline.calls.service import CallService
from ringline.calls.states import Status
from ringline.calls.switchboard import Switchboard
from ringline.calls.transfer import House
from ringline.calls.whisper import Whispers
from ringline.clock import Clock, SystemClock
from ringline.conferences import http as conferences_http
from ringline.conferences.announcements import Announcements
from ringline.conferences.rooms import Rooms
from ringline.conferences.service import ConferenceService
from ringline.customers import (
    AccesskeyDirectory,
    AccesskeyService,
    AgentDirectory,
    AgentService,
    Authentication,
    CustomerDirectory,
    CustomerService,
    LoginService,
    Presence,
    TagService,
    Tokens,
    accesskey_routes,
    agent_routes,
    customer_routes,
    login_routes,
    tag_routes,
)
from ringline.errors import RinglineError
from ringline.extensions import ExtensionDirectory
from ringline.flows import http as flows_http
from ringline.flows import store as flow_store
from ringline.flows.actions import Services
from ringline.flows.activeflows import Activeflows
from ringline.flows.activeflows_http import activeflow_routes
from ringline.flows.calling import FlowCalls
from ringline.flows.check import Rules
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.fetching import Fetcher
from ringline.flows.service import FlowService
from ringline.flows.simulation.http import simulation_routes
from ringline.flows.webhooks import FlowWebhooks
from ringline.groupcalls import http as groupcalls_http
from ringline.groupcalls.room import Groupcalls
from ringline.housekeeping import Chore, Housekeeper
from ringline.http import DatabaseIdempotency, Readiness, Route, Server, create_app
from ringline.media import MediaLibrary, address_guard
from ringline.media.outbound import OutboundClient
from ringline.numbers import NumberDirectory, NumberService, number_routes, source_problem
from ringline.queues.directory import QueueDirectory
from ringline.queues.http import queue_routes, queuecall_routes
from ringline.queues.joining import QueueJoining
from ringline.queues.service import QueuecallService, QueueService
from ringline.recordings import http as recordings_http
from ringline.recordings.files import RecordingFiles
from ringline.recordings.service import RecordingService
from ringline.recordings.upkeep import RecordingUpkeep
from ringline.routing import KamailioRpc
from ringline.settings import Settings
from ringline.storage import Database, Live
from ringline.storage.behind import WriteBehind
from ringline.streams.relay import Relay
from ringline.streams.service import RtpHosts, Streams
from ringline.streams.stream import Parts
from ringline.transfers import http as transfers_http
from ringline.transfers import store as transfer_store
from ringline.transfers.models import TransferRecord
from ringline.transfers.service import TransferService
from ringline.webhooks.exchange import HttpExchanges
from ringline.webhooks.sender import Sender

log = structlog.get_logger(__name__)

RECOVERY_SECONDS = 3.0
"""How long the API waits until calls of the controller before have gone on; without Asterisk they do not."""

Close = Callable[[], Awaitable[None]]


class Controller:
    """Everything one controller process consists of."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        clock = SystemClock()
        self._make_directories(settings)
        self.media = MediaLibrary(settings, observer=telemetry.MediaTelemetry())
        self.kamailio = KamailioRpc(settings.kamailio_rpc_url, settings.kamailio_secret.get_secret_value())
        self.ari = ari.Client(
            settings.ari_url,
            settings.ari_username,
            settings.ari_password.get_secret_value(),
            settings.ari_application,
            request_sockets=settings.ari_request_sockets,
            # nothing here asks for what only the description names, and reading it holds up those who wait
            describe=False,
            observer=telemetry.AriTelemetry(),
        )
        self.live_state = LiveState(self.live)
        self.journal = Journal(self.database, self.live_state, flow_store)
        self.switchboard = Switchboard(
            self.ari,
            self.journal,
            clock,
            application=settings.ari_application,
            dial_timeout=settings.dial_timeout_seconds,
            max_duration=settings.max_call_seconds,
        )
        self.extensions = ExtensionDirectory(self.database)
        destinations = Destinations(
            sip_domain=settings.sip_domain,
            extensions=self.extensions,
            agents=self.agents,
            allowed_networks=settings.sip_allowed_networks,
        )
        self.ordering = Ordering(
            self.switchboard,
            self.customers,
            self.numbers,
            sip_domain=settings.sip_domain,
            destinations=destinations,
        )
        self.bridges = Bridges()
        self.connections = Connections(self.ari, self.switchboard, self.journal, self.ordering, self.bridges)
        self.backgrounds = Backgrounds(self.ari)
        self.controls = Controls(self.ari, self.switchboard, self.journal, self.backgrounds, clock)
        self.gatherings = Gatherings(self.ari, self.bridges)
        self.whispers = Whispers(
            self.ari, self.switchboard, self.backgrounds, application=settings.ari_application
        )
        self.reconciler = Reconciler(
            self.ari, self.switchboard, self.bridges, clock, application=settings.ari_application
        )
        self.manager = watch.monitor(settings, self.reconciler.wake)
        self.definitions = FlowDefinitions(self.database)
        self.flows = FlowService(self.definitions, self.journal, self.media, clock)
        self.inbound = Inbound(self.numbers, self.customers, lambda: self.journal.full)
        self.live_state.line_of = self.switchboard.line
        self.live_state.unwritten = self.journal.pending
        self.live_state.lasting = self._lasting
        self.recovery = Recovery(
            self.ari,
            self.database,
            self.journal,
            self.switchboard,
            self.flows,
            flow_store,
            application=settings.ari_application,
        )
        self.recovery.parts += [
            Restores("backgrounds", self._restore_backgrounds),
            Restores("controls", lambda _: self.controls.restore()),
        ]
        self.reconciler.ready = self.recovery.done.is_set
        self.switchboard.hooks = self.flows
        self.switchboard.arrivals = self.inbound
        self.switchboard.connector = self.connections
        self.switchboard.muting = self.controls
        self.switchboard.echoes = Echoes(
            self.ari, self.switchboard, self.bridges, application=settings.ari_application
        )
        self.switchboard.watchers.append(self.backgrounds.call_ended)
        self.switchboard.gatherings = self.gatherings
        self.switchboard.watchers.append(self.gatherings.call_ended)
        self._add_recordings(clock)
        self.calls = CallService(
            self.database,
            self.switchboard,
            self.journal,
            self.ari,
            self.flows,
            self.ordering,
        )
        self.joining = QueueJoining(
            self.database,
            self.queues,
            self.agents,
            self.presence,
            self.definitions,
            self.connections,
            self.ordering,
            self.switchboard,
            clock,
            partial(Ringback, self.ari),
            recovered=self.recovery.done,
        )
        self._make_outside(settings, FailureNotes(clock, self.journal.touch))
        self._make_conferences(clock)
        self.flows.services = Services(
            calls=FlowCalls(self.definitions, self.flows, self.calls),
            fetches=Fetcher(self.exchanges, self.media.check_language, self.check_url),
            flows=self.definitions,
            endings=self.calls,
            queues=self.joining,
            webhooks=self.flow_webhooks,
            streams=self.streams,
            conferences=self.conferences,
        )
        self.activeflows = Activeflows(self.database, self.journal, self.flows, self._hang_up)
        self._make_groupcalls(clock)
        self._make_transfers(clock)
        self.idempotency = DatabaseIdempotency(self.database)
        self.readiness = Readiness()
        self._closing: list[tuple[str, Close]] = []
        self._reload: asyncio.Task[None] | None = None

    def _make_directories(self, settings: Settings) -> None:
        """What is known of customers and their things, in memory, and who may come in."""
        self.database = Database(settings.database_url.get_secret_value())
        self.live = Live(settings.redis_url.get_secret_value())
        self.customers = CustomerDirectory(self.database)
        self.agents = AgentDirectory(self.database)
        self.presence = Presence()
        self.queues = QueueDirectory(self.database)
        self.keys = AccesskeyDirectory(self.database)
        self.numbers = NumberDirectory(self.database)
        self.tokens = Tokens(settings.jwt_secret.get_secret_value())
        self.authentication = Authentication(
            self.database, customers=self.customers, agents=self.agents, keys=self.keys, tokens=self.tokens
        )

    def _make_groupcalls(self, clock: Clock) -> None:
        """Several calls of which one is wanted."""
        self.groupcalls = Groupcalls(
            self.database,
            self.switchboard,
            self.ordering,
            self.journal,
            self.flows,
            self.calls,
            self.connections,
            clock,
        )
        self.recovery.parts.append(self.groupcalls.restoring)

    def _make_outside(self, settings: Settings, notes: FailureNotes) -> None:
        """The parts that talk with servers of customers."""
        # what nobody waits for must not take the connections of what a call waits for
        guard = address_guard.AddressGuard(settings.fetch_allowed_networks)
        self.check_url = partial(address_guard.check_url, allowed=settings.fetch_allowed_networks)
        self.exchanges = HttpExchanges(OutboundClient(guard, limit=256))
        self.background_exchanges = HttpExchanges(OutboundClient(guard, limit=256))
        self.webhooks = Sender(self.background_exchanges)
        self.flow_webhooks = FlowWebhooks(self.webhooks, self.exchanges, notes)
        self.relay = Relay(settings.fetch_allowed_networks)
        self.rtp_hosts = RtpHosts(guard)
        self.streams = Streams(
            Parts(
                self.ari,
                self.switchboard,
                self.bridges,
                self.relay,
                self.rtp_hosts,
                settings.ari_application,
                f"{settings.ari_url.rstrip('/')}/media",
            ),
            self.backgrounds,
            notes,
            self.live_state,
        )
        self.recovery.parts.append(self.streams)
        self.switchboard.watchers.append(self.streams.call_ended)

    def _make_transfers(self, clock: Clock) -> None:
        self.recovery.parts.append(
            KeptConversations(self.ari, self.switchboard, self.bridges, self.journal.live)
        )
        self.transfers_behind = WriteBehind(
            self.database, transfer_store.UPSERT, TransferRecord.row, name="transfers"
        )
        self.transfers = TransferService(
            self.database,
            House(self.ari, self.switchboard, self.journal, self.ordering, self.bridges, self.controls),
            self.calls,
            self.connections,
            self.transfers_behind,
            clock,
        )

    def _lasting(self) -> tuple[list[UUID], list[KeptFlow]]:
        """What a successor would need: all that lasts, and what has ended and is not in PostgreSQL yet."""
        call_ids, flows = self.journal.marked()
        return (
            [*(call.id for call in self.switchboard.calls()), *call_ids],
            [*self.flows.live(), *flows],
        )

    def _make_conferences(self, clock: Clock) -> None:
        """Rooms in which calls hear each other."""
        sounds = Announcements(self.ari, self.media)
        rooms = Rooms(self.database, self.ari, self.gatherings, sounds, clock)
        self.switchboard.watchers.append(rooms.call_ended)
        self.conferences: ConferenceService = ConferenceService(
            self.database, rooms, self.recordings, self.definitions, clock
        )

    def _restore_backgrounds(self, found: Found) -> None:
        bridged = [name for bridge in found.bridges.values() for name in bridge.get("channels", ())]
        self.backgrounds.restore(self.switchboard.calls(), bridged)

    def _hang_up(self, call_id: UUID) -> None:
        call = self.switchboard.live(call_id)
        if call is not None:
            self.switchboard.hang_up(call)

    def _add_recordings(self, clock: Clock) -> None:
        settings = self._settings
        self.recordings = RecordingService(
            self.database,
            self.ari,
            self.switchboard,
            self.journal,
            RecordingFiles(settings.recordings_dir),
            clock,
            application=settings.ari_application,
            max_seconds=settings.recording_max_seconds,
            flow_exists=self.definitions.exists,
        )
        self.detector = MachineDetector(self.ari, self.switchboard, application=settings.ari_application)
        self.recordings.start_flow = self.flows.start_detached
        self.switchboard.recorder = self.recordings
        self.switchboard.detector = self.detector
        self.recovery.parts.append(self.recordings)

    async def start(self) -> None:
        """Start every part; what was started is stopped again by ``close`` even when a later one fails."""
        self._watch_parts()
        mirrors = (self.customers, self.agents, self.keys, self.numbers, self.queues, self.extensions)
        await asyncio.gather(
            self.recovery.load(),
            *(self._begin("mirror", mirror.start, mirror.close) for mirror in mirrors),
            self._begin("authentication", self.authentication.start, self.authentication.close),
            self._begin("media", self.media.start, self.media.close),
        )
        # Stopped after the stores and the connection to Asterisk: flows that are cut off leave no trace in them, so
        # that a successor goes on with them.
        self._on_close("exchanges", self.exchanges.close)
        self._on_close("background-exchanges", self.background_exchanges.close)
        self._on_close("webhooks", self.webhooks.close)
        self._on_close("flows", self.flows.close)
        await self._begin("queues", self.joining.start, self.joining.close)
        self.switchboard.start()
        self.backgrounds.start()
        self.controls.start()
        self.whispers.start()
        await self._begin("recordings", self.recordings.start, self.recordings.close)
        # whose bridges these are must be known before anybody looks for bridges that are nobody's
        await self.conferences.rooms.restore()
        await self._begin("conferences", self.conferences.start, self.conferences.close)
        self._on_close("detections", self.detector.close)
        await self.ari.start(timeout=0)
        self._on_close("asterisk", self.ari.close)
        self._on_close("live-state", self.live_state.close)
        await self._begin("journal", self.journal.start, self.journal.close)
        await self._begin("groupcalls", self.groupcalls.start, self.groupcalls.close)
        await self.transfers.finish_interrupted()
        await self._begin("transfers", self.transfers_behind.start, self.transfers_behind.close)
        self.recovery.start()
        self._on_close("recovery", self.recovery.close)
        await self._begin("reconciler", self.reconciler.start, self.reconciler.close)
        await self._begin("manager", self.manager.start, self.manager.close)
        self._warming = asyncio.create_task(self.relay.warm(), name="relay-warm")
        self._on_close("relay", self.relay.close)
        self._on_close("rtp-hosts", self.rtp_hosts.close)
        self._on_close("streams", self.streams.close)
        # the application is a second of work for the loop: calls that wait to go on come first
        await self.recovery.finished(RECOVERY_SECONDS)
        housekeeper = Housekeeper(self._chores(), telemetry.loop_lag_seconds.set)
        await housekeeper.start()
        self._on_close("housekeeper", housekeeper.close)
        # what Kamailio read at its own start may be older than what the seed wrote since
        self._reload = asyncio.create_task(self._reload_kamailio(), name="kamailio-reload")
        server = Server(self._application(), self._settings.api_host, self._settings.api_port)
        await server.start()
        self._on_close("http", server.close)
        log.info("controller_started", version=__version__)

    async def _begin(
        self, name: str, start: Callable[[], Awaitable[object]], close: Callable[[], Awaitable[None]]
    ) -> None:
        await start()
        self._on_close(name, close)

    async def drain(self, grace: float) -> None:
        """Take no new calls and give present ones ``grace`` seconds. What is left then is the next controller's."""
        self.calls.draining = self.inbound.draining = True
        log.info("draining", calls=len(self.switchboard), seconds=grace)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.switchboard.emptied()

    async def close(self) -> None:
        """Stop in reverse order; a part that fails to stop does not keep the others from it.

        Calls that last are not hung up: Asterisk keeps them, and the next controller goes on with them.
        """
        if len(self.switchboard):
            log.info("calls_left", calls=len(self.switchboard))
        self.switchboard.close()
        if self._reload is not None:
            self._reload.cancel()
        for name, close in reversed(self._closing):
            try:
                async with asyncio.timeout(10.0):
                    await close()
            except Exception as error:  # noqa: BLE001 - said, and the next part is stopped
                log.error("part_did_not_stop", part=name, error=repr(error))
        for name, close in (
            ("kamailio", self.kamailio.close),
            ("redis", self.live.close),
            ("database", self.database.close),
        ):
            try:
                await close()
            except Exception as error:  # noqa: BLE001
                log.error("part_did_not_stop", part=name, error=repr(error))
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        log.info("controller_stopped", tasks_left=left)

    def _application(self) -> web.Application:
        return create_app(
            self._routes(),
            settings=self._settings,
            authenticator=self.authentication,
            readiness=self.readiness,
            idempotency=self.idempotency,
        )

    def _routes(self) -> list[Route]:
        database = self.database
        return [
            *login_routes(LoginService(database, self.tokens)),
            *accesskey_routes(AccesskeyService(database, self.keys)),
            *agent_routes(AgentService(database, self.agents, self.presence)),
            *tag_routes(TagService(database, self.agents, self.queues.asking)),
            *customer_routes(
                CustomerService(
                    database,
                    self.customers,
                    lambda customer_id, number_id: source_problem(self.numbers, customer_id, number_id),
                )
            ),
            *calls_http.routes(
                self.calls, self.flows, self.definitions, self.media.check_language, self.check_url
            ),
            *control_http.routes(self.calls, self.controls, self.whispers, self.media),
            *recordings_http.routes(self.recordings, self.calls),
            *conferences_http.routes(self.conferences, self.media.check_language, self.check_url),
            *flows_http.routes(self.definitions, self.media.check_language, self.check_url),
            *simulation_routes(self.definitions, Rules(self.media.check_language, self.check_url)),
            *activeflow_routes(self.activeflows),
            *groupcalls_http.routes(
                self.groupcalls.service,
                self.flows,
                self.definitions,
                self.media.check_language,
                self.check_url,
            ),
            *transfers_http.routes(self.transfers),
            *number_routes(NumberService(database, self.numbers, self.definitions.exists)),
            *billing_routes(BillingService(database)),
            *queue_routes(
                QueueService(database, self.queues, self.joining, self.definitions),
                Rules(self.media.check_language, self.check_url),
            ),
            *queuecall_routes(QueuecallService(database, self.joining)),
        ]

    def _watch_parts(self) -> None:
        async def asterisk() -> str | None:
            if not self.ari.connected:
                raise ConnectionError("the event connection is down")
            await self.ari.request("GET", "asterisk/ping")
            return None

        async def database() -> str | None:
            await self.database.ping()
            return None

        async def redis() -> str | None:
            await self.live.ping()
            return None

        async def kamailio() -> str | None:
            await self.kamailio.ping()
            return None

        self.readiness.add("database", database)
        self.readiness.add("redis", redis)
        self.readiness.add("ari", asterisk)
        self.readiness.add("kamailio", kamailio)
        self.readiness.add("calls", self.recovery.status)

    async def _reload_kamailio(self) -> None:
        try:
            await self.kamailio.reload_routes()
        except RinglineError as error:
            log.warning("kamailio_not_reloaded", error=error.message)

    def _chores(self) -> list[Chore]:
        async def read_gauges() -> None:
            telemetry.ari_connected.set(1 if self.ari.connected else 0)
            telemetry.queue_depth.labels("ari_requests").set(self.ari.in_flight)
            telemetry.queue_depth.labels("ari_events").set(self.ari.queued)
            metrics.journal_depth.set(self.journal.depth)
            telemetry.queue_depth.labels("webhooks").set(self.webhooks.depth)
            telemetry.read_media(self.media)
            counted = Counter(call.status for call in self.switchboard.calls())
            for status in Status:
                if status is not Status.HANGUP:
                    metrics.calls_live.labels(status.value).set(counted[status])

        async def read_edge() -> None:
            for event, count in (await self.kamailio.statistics()).items():
                telemetry.edge_events.labels(event).set(count)

        async def sweep() -> None:
            await self.idempotency.sweep()

        async def part_missing() -> None:
            self.conferences.rooms.sweep({call.id: call for call in self.switchboard.calls()})

        recordings = RecordingUpkeep(
            self.database,
            self.recordings,
            keep_days=self._settings.recording_keep_days,
            keep_bytes=self._settings.recording_keep_bytes,
            free_bytes=self._settings.recording_free_bytes,
        )
        return [
            Chore("gauges", 1.0, read_gauges),
            Chore("recordings-room", 10.0, recordings.look),
            Chore("recordings-check", 30.0, recordings.check),
            Chore("recordings-sweep", 600.0, recordings.sweep),
            Chore("edge", 10.0, read_edge),
            Chore("idempotency", 3600.0, sweep),
            Chore("conferences", 5.0, part_missing),
        ]

    def _on_close(self, name: str, close: Close) -> None:
        self._closing.append((name, close))


async def run(settings: Settings) -> None:
    """Serve until the first SIGTERM or SIGINT, which drains; a second one stops at once."""
    controller = Controller(settings)
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    try:
        await controller.start()
        # what is there now stays: the collector need not look at it again and again (a full round takes 30 ms)
        gc.collect()
        gc.freeze()
        gc.enable()
        await signals.get()
        draining = asyncio.create_task(controller.drain(settings.shutdown_grace_seconds), name="drain")
        second = asyncio.create_task(signals.get(), name="second-signal")
        await asyncio.wait({draining, second}, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, second):
            task.cancel()
        await asyncio.gather(draining, second, return_exceptions=True)
    finally:
        await controller.close()


def serve(settings: Settings) -> None:
    """Run a controller in this process (``ringline serve``)."""
    uvloop.run(run(settings))
