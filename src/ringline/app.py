"""The controller put together: every part made once, started in order, stopped in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Protocol
from uuid import UUID

import structlog
import uvloop
from aiohttp import web

from ringline import __version__, ari, chores, probes, telemetry, watch
from ringline.accounting import Accounting
from ringline.announcing import Announcing
from ringline.belongings import Belongs, belongings
from ringline.billing import BalanceDirectory, RateBook
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
from ringline.calls.limits import Caps, Limits
from ringline.calls.live_state import KeptFlow, LiveState
from ringline.calls.membership import Gatherings
from ringline.calls.notes import FailureNotes
from ringline.calls.ordering import Ordering
from ringline.calls.pacing import Pacing
from ringline.calls.phone_hold import PhoneHolds
from ringline.calls.reconcile import Reconciler
from ringline.calls.recovery import Found, Recovery, Restores
from ringline.calls.ringback import Ringback
from ringline.calls.service import CallService
from ringline.calls.switchboard import Switchboard
from ringline.calls.transfer import House
from ringline.calls.whisper import Whispers
from ringline.charging.room import Charging
from ringline.clock import Clock, SystemClock
from ringline.conferences.announcements import Announcements
from ringline.conferences.rooms import Rooms
from ringline.conferences.service import ConferenceService
from ringline.customers import (
    AccesskeyDirectory,
    AgentDirectory,
    Authentication,
    Customer,
    CustomerDirectory,
    Identity,
    Presence,
    RevokedTokens,
    SigningKeyDirectory,
    Tokens,
    Vigil,
    country_of,
)
from ringline.customers.removal import Part
from ringline.errors import RinglineError
from ringline.extensions import (
    AccountReloads,
    Extension,
    ExtensionDirectory,
    RegistrationDirectory,
    Trunk,
    TrunkDirectory,
)
from ringline.extensions.edge import Edge
from ringline.extensions.relabel import Realms
from ringline.extensions.service import ExtensionService
from ringline.extensions.trunks import TrunkService
from ringline.extensions.trunks.addresses import TrunkAddresses
from ringline.flows import actions
from ringline.flows import store as flow_store
from ringline.flows import telling as flow_telling
from ringline.flows.actions import Services
from ringline.flows.activeflows import Activeflows
from ringline.flows.calling import FlowCalls
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.fetching import Fetcher
from ringline.flows.service import FlowService
from ringline.flows.webhooks import FlowWebhooks
from ringline.groupcalls.room import Groupcalls
from ringline.guarding import CallCounts, Guarding
from ringline.housekeeping import Chore, Housekeeper
from ringline.http import DatabaseIdempotency, Readiness, Server, create_app
from ringline.http.carried import Carrier
from ringline.http.connections import Crowd
from ringline.mail import Letter
from ringline.media import MediaLibrary, address_guard
from ringline.media.outbound import OutboundClient
from ringline.numbering import Numbering
from ringline.numbers import NumberDirectory, forget_flow, resolve_source
from ringline.operations import operations_of
from ringline.outbound import OutboundDirectory, Whitelist
from ringline.people import Directories as PeopleDirectories
from ringline.people import People
from ringline.phones import Contacts, Directories, PhoneArrivals, PhoneFlows
from ringline.queues.directory import QueueDirectory
from ringline.queues.joining import QueueJoining
from ringline.queues.service import QueueService
from ringline.recordings.files import RecordingFiles
from ringline.recordings.service import RecordingService
from ringline.recordings.upkeep import RecordingUpkeep
from ringline.routing import KamailioRpc, RoutingService
from ringline.routing.health import ProviderHealth
from ringline.settings import Settings
from ringline.sip.destination import zone
from ringline.storage import Database, Live
from ringline.storage.behind import WriteBehind
from ringline.streams.relay import Relay
from ringline.streams.service import RtpHosts, Streams
from ringline.streams.stream import Parts
from ringline.traces.dialogs import Sockets
from ringline.traces.service import TraceService
from ringline.transfers import models as transfer_models
from ringline.transfers import store as transfer_store
from ringline.transfers.models import TransferRecord
from ringline.transfers.referrals import Referrals
from ringline.transfers.service import TransferService
from ringline.transfers.telephones import Telephones
from ringline.webhooks.exchange import HttpExchanges
from ringline.webhooks.sender import Sender

log = structlog.get_logger(__name__)

RECOVERY_SECONDS = 3.0
"""How long the API waits until calls of the controller before have gone on; without Asterisk they do not."""

Close = Callable[[], Awaitable[None]]


class Follower(Protocol):
    """What is in memory of the database, and follows it."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class Controller:
    """Everything one process consists of; its role says which parts of it are started (``roles``).

    ``epoch``: that of the lease under which it drives its Asterisk, where several processes could.
    """

    def __init__(self, settings: Settings, *, epoch: int = 0) -> None:
        self.settings = settings
        self.epoch = epoch
        self.serving = False
        clock = SystemClock()
        self._make_directories(settings)
        self.media = MediaLibrary(settings, observer=telemetry.MediaTelemetry())
        self._make_routing(settings)
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
        self.live_state = LiveState(self.live, settings.asterisk_name if self.epoch else "", self.epoch)
        self.journal = Journal(self.database, self.live_state, flow_store)
        self.switchboard = Switchboard(
            self.ari,
            self.journal,
            clock,
            application=settings.ari_application,
            dial_timeout=settings.dial_timeout_seconds,
            max_duration=settings.max_call_seconds,
        )
        self._make_ordering(settings)
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
        self.definitions = FlowDefinitions(self.database, forgetting=(forget_flow,))
        self.flows = FlowService(self.definitions, self.journal, self.media, clock)
        self._make_phones(settings)
        self.inbound = Inbound(
            self.numbers,
            self.customers,
            self.balances,
            lambda: self.journal.full,
            self.phones,
            limits=self.limits,
        )
        self._show_what_lasts()
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
        self._make_calls(settings, clock)
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
        self._make_accounts(settings)
        self._make_transfers(clock)
        self._make_announcing(settings, clock)
        self.numbering = Numbering(
            settings,
            self.database,
            clock,
            numbers=self.numbers,
            customers=self.customers,
            balances=self.balances,
            definitions=self.definitions,
            flows=self.flows,
            countries=self.whitelist,
            check_url=self.check_url,
            rates=self.rates,
        )
        self._closing: list[tuple[str, Close]] = []
        self._reload: asyncio.Task[None] | None = None

    def _make_calls(self, settings: Settings, clock: Clock) -> None:
        """Placing calls, at the pace of each customer."""
        self.pacing: Pacing = Pacing(
            self.database,
            self.limits,
            self.journal,
            clock,
            bound=self.guarding.directory.waiting_calls,
            owner=settings.asterisk_name if self.epoch else "",
        )
        self.call_counts = CallCounts(settings, self.live, self.limits, self.pacing, epoch=self.epoch)
        self.calls: CallService = CallService(
            self.database,
            self.switchboard,
            self.journal,
            self.ari,
            self.flows,
            self.ordering,
            self.pacing,
        )
        self.pacing.ready = lambda: self.recovery.done.is_set() and self.calls.ready()
        self.pacing.taken = lambda call: (line := self.switchboard.line(call.id)) is None or line.placed
        self.pacing.kept = self.live_state.write
        self.recovery.waiting = self.pacing
        self.switchboard.watchers.append(self.pacing.call_ended)

    def _make_announcing(self, settings: Settings, clock: Clock) -> None:
        """Who pays, and who is told."""
        self.journal.action_of = self.flows.current
        self.journal.flow_events = flow_telling.due
        self.journal.ended_flow_events = flow_telling.ended
        self.accounting = Accounting(settings, self.database, self.balances, self.rates)
        self.charging = Charging(
            self.database,
            clock,
            customers=self.customers,
            accounts=self.balances,
            rates=self.rates,
            switchboard=self.switchboard,
            sounds=self.media,
            speakers=self.whispers,
        )
        self.charging.attach(self.journal, self.ordering, self.inbound, self.recovery)
        self.announcing = Announcing(settings, self.database, clock)
        self.guarding.share(self.announcing.sockets)
        mailer = self.people.mailer
        self.announcing.webhooks.disabling.post = lambda *words: mailer.post(Letter(*words))

    def _make_directories(self, settings: Settings) -> None:
        """What is known of customers and their things, in memory, and who may come in."""
        self.readiness = Readiness()
        self.database = Database(
            settings.database_url.get_secret_value(),
            home=settings.asterisk_name if self.epoch else "",
            refuse_unbound=settings.unbound_statements == "refuse",
        )
        self.live = Live(settings.redis_url.get_secret_value())
        self.customers = CustomerDirectory(self.database)
        self.agents = AgentDirectory(self.database)
        self.presence = Presence()
        self.queues = QueueDirectory(self.database)
        self.keys = AccesskeyDirectory(self.database)
        self.numbers = NumberDirectory(self.database)
        self.balances = BalanceDirectory(self.database)
        self.rates = RateBook(self.database)
        self.idempotency = DatabaseIdempotency(self.database)
        self.guarding = Guarding(settings, self.database, self.live)
        self.signing_keys = SigningKeyDirectory(self.database, settings.jwt_secret.get_secret_value())
        self.revoked_tokens = RevokedTokens(self.database)
        self.tokens = Tokens(self.signing_keys, self.revoked_tokens.by_id)
        self.authentication = Authentication(
            self.database, customers=self.customers, agents=self.agents, keys=self.keys, tokens=self.tokens
        )

    def _make_phones(self, settings: Settings) -> None:
        """Phones and trunks that dial."""
        known = Directories(
            self.extensions,
            self.trunks,
            self.customers,
            self.numbers,
            self.balances,
            self.whitelist,
        )
        self.phones: PhoneArrivals = PhoneArrivals(
            known,
            sip_domain=settings.sip_domain,
            country=lambda customer: country_of(customer, self.numbers, settings.default_country),
        )

        def shown(customer: Customer, given: str) -> str:
            number = resolve_source(self.numbers, customer, given).number
            return "" if number is None else number.number

        contacts = Contacts(self.registrations, self.customers, settings.sip_domain)
        self.flows.generated = PhoneFlows(self.customers, shown, contacts)

    def _make_ordering(self, settings: Settings) -> None:
        """Who may call whom, as whom, and how much."""
        self.outbound = OutboundDirectory(self.database)
        self.whitelist = Whitelist(
            self.outbound.of, lambda customer: country_of(customer, self.numbers, settings.default_country)
        )
        self.limits = Limits(
            self.switchboard.tally,
            self.outbound.of,
            Caps(settings.max_calls_per_customer, settings.max_calls_per_second_per_customer),
            account=self._account_limit,
            account_calls=settings.max_calls_per_account,
        )
        self.extensions = ExtensionDirectory(self.database)
        self.trunks = TrunkDirectory(self.database)
        self.registrations = RegistrationDirectory(self.database, self.extensions)
        self.account_reloads = AccountReloads(
            self.kamailio.reload_accounts, (self.extensions, self.trunks, self.customers)
        )
        destinations = Destinations(
            sip_domain=settings.sip_domain,
            extensions=self.extensions,
            agents=self.agents,
            registrations=self.registrations,
            allowed_networks=settings.sip_allowed_networks,
            codecs=self.outbound.codecs,
        )
        self.ordering = Ordering(
            self.switchboard,
            self.customers,
            self.numbers,
            sip_domain=settings.sip_domain,
            destinations=destinations,
            countries=self.whitelist,
            limits=self.limits,
        )
        self.ordering.identity = Identity(required=settings.identity_verification_required)

    def _account_limit(self, account_id: UUID) -> int:
        account: Extension | Trunk | None = self.extensions.by_id(account_id) or self.trunks.by_id(account_id)
        return 0 if account is None else account.max_calls

    def _make_routing(self, settings: Settings) -> None:
        """Kamailio, and the providers that it routes to."""
        self.kamailio = KamailioRpc(settings.kamailio_rpc_url, settings.kamailio_secret.get_secret_value())
        self.routing = RoutingService(self.database, self.kamailio)
        self.provider_health = ProviderHealth(self.kamailio)

    def _make_accounts(self, settings: Settings) -> None:
        """SIP accounts: what the API says of them, and how Kamailio hears of it. And those of people."""
        known = PeopleDirectories(self.customers, self.agents, self.keys)
        self.people = People(settings, self.database, SystemClock(), known)
        self.people.end_calls(self.switchboard.calls, self.switchboard.hang_up)
        self.account_edge = Edge(self.kamailio)
        self.realms = Realms(self.account_edge, self.extensions, sip_domain=settings.sip_domain)
        self.extension_accounts = ExtensionService(
            self.database,
            self.extensions,
            self.account_edge,
            self.kamailio,
            sip_domain=settings.sip_domain,
            country=self._country,
        )
        own = (settings.kamailio_address, settings.advertised_address)
        self.trunk_accounts = TrunkService(
            self.database,
            self.trunks,
            self.account_edge,
            TrunkAddresses(settings.sip_allowed_networks, own),
            sip_domain=settings.sip_domain,
        )

    def _country(self, customer_id: UUID) -> str:
        customer, default = self.customers.by_id(customer_id), self.settings.default_country
        return default if customer is None else country_of(customer, self.numbers, default)

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
        self.streams: Streams = Streams(
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
        self._make_traces(settings)

    def _make_traces(self, settings: Settings) -> None:
        sockets = Sockets(
            {"127.0.0.1", settings.kamailio_host, settings.kamailio_address},
            {
                settings.kamailio_port: "",
                settings.kamailio_tls_port: "tls",
                settings.kamailio_ws_port: "ws",
                settings.kamailio_wss_port: "wss",
            },
        )
        self.traces = TraceService(
            self.database,
            self.switchboard,
            sockets,
            key=settings.kamailio_secret.get_secret_value(),
            port=settings.hep_port,
            days=settings.sip_trace_days,
            max_bytes=settings.sip_trace_bytes,
        )
        self.traces.calls = self.calls

    def _make_transfers(self, clock: Clock) -> None:
        self.recovery.parts.append(
            KeptConversations(self.ari, self.switchboard, self.bridges, self.journal.live)
        )
        self.transfers_behind = WriteBehind(
            self.database,
            transfer_store.UPSERT,
            TransferRecord.row,
            name="transfers",
            telling=transfer_models.telling(),
        )
        self.holds = PhoneHolds(self.ari, self.switchboard, self.connections, self.backgrounds)
        self.switchboard.watchers.append(self.holds.call_ended)
        self.transfers = TransferService(
            self.database,
            House(
                self.ari,
                self.switchboard,
                self.journal,
                self.ordering,
                self.bridges,
                self.controls,
                self.holds,
            ),
            self.calls,
            self.connections,
            self.transfers_behind,
            clock,
        )

        telephones = Telephones(
            self.extensions, self.customers, self.phones, sip_domain=self.settings.sip_domain
        )
        self.referrals = Referrals(self.ari, self.switchboard, self.transfers, telephones)

    def _show_what_lasts(self) -> None:
        self.live_state.line_of = self.switchboard.line
        self.live_state.unwritten = self.journal.pending
        self.live_state.lasting = self._lasting

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
        settings = self.settings
        self.recordings: RecordingService = RecordingService(
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

    @property
    def calls_lasting(self) -> int:
        """How many calls there are now."""
        return len(self.switchboard)

    @property
    def taking(self) -> bool:
        """Whether new calls can be placed."""
        return self.serving and self.calls.ready()

    @property
    def trouble(self) -> str:
        """What keeps calls from going on, in words; empty: nothing."""
        if not self.recovery.done.is_set():
            return "its calls are being taken over"
        return "" if self.ari.connected else "Asterisk is not connected"

    def owns(self, resource_id: UUID) -> bool:
        """Whether something that lives in memory is here: a call (waiting, too), a flow, or what belongs to one."""
        return (
            self.switchboard.live(resource_id) is not None
            or self.pacing.call(resource_id) is not None
            or self.journal.pending(resource_id) is not None
            or self.flows.knows(resource_id)
            or self.groupcalls.service.owns(resource_id)
            or self.conferences.rooms.owns(resource_id)
            or self.joining.owns(resource_id)
            or self.recordings.owns(resource_id)
            or self.transfers.owns(resource_id)
        )

    async def start(self) -> None:
        """Start every part; what was started is stopped again by ``close`` even when a later one fails."""
        probes.watch_stores(self.readiness, self.database, self.live)
        probes.watch_calls(self)
        await self.start_calls()
        await self.start_rooms()
        await self.start_housekeeping([*chores.call_chores(self), *chores.work_chores(self)])
        await self.start_edge()
        await self.serve(self.application())
        log.info("controller_started", version=__version__)

    async def start_mirrors(self) -> None:
        """Read what is held in memory of the database, and follow it."""
        mirrors: tuple[Follower, ...] = (
            self.customers,
            self.agents,
            self.keys,
            self.signing_keys,
            self.revoked_tokens,
            Vigil(
                self.database,
                (self.keys, self.revoked_tokens, self.agents, self.customers, self.signing_keys),
            ),
            self.numbers,
            self.balances,
            self.rates,
            self.queues,
            self.extensions,
            self.trunks,
            self.outbound,
            self.guarding,
            self.registrations,
            self.authentication,
        )
        await self._follow(mirrors)

    async def start_calls(self) -> None:
        """Drive Asterisk: its calls go on, and new ones can come."""
        await asyncio.gather(
            self.recovery.load(),
            self.start_mirrors(),
            self.begin("media", self.media.start, self.media.close),
        )
        # what a controller before had is known again, and tells under its name
        await self.begin("call-counts", self.call_counts.start, self.call_counts.close)
        # Stopped after the stores and the connection to Asterisk: flows that are cut off leave no trace in them, so
        # that a successor goes on with them.
        self._on_close("exchanges", self.exchanges.close)
        self._on_close("background-exchanges", self.background_exchanges.close)
        self._on_close("webhooks", self.webhooks.close)
        self._on_close("flows", self.flows.close)
        await self.begin("queues", self.joining.start, self.joining.close)
        listening = (
            self.switchboard,
            self.backgrounds,
            self.controls,
            self.whispers,
            self.holds,
            self.referrals,
        )
        for part in listening:
            part.start()
        await self.begin("recordings", self.recordings.start, self.recordings.close)
        # whose bridges these are must be known before anybody looks for bridges that are nobody's
        await self.conferences.rooms.restore()
        await self.begin("conferences", self.conferences.start, self.conferences.close)
        self._on_close("detections", self.detector.close)
        await self.ari.start(timeout=0)
        self._on_close("asterisk", self.ari.close)
        self._on_close("live-state", self.live_state.close)
        await self._begin_writing()
        await self.begin("traces", self.traces.start, self.traces.close)
        await self.begin("groupcalls", self.groupcalls.start, self.groupcalls.close)
        await self.transfers.finish_interrupted()
        await self.begin("transfers", self.transfers_behind.start, self.transfers_behind.close)
        self.recovery.start()
        self._on_close("recovery", self.recovery.close)
        await self.begin("pacing", self.pacing.start, self.pacing.close)
        await self.begin("reconciler", self.reconciler.start, self.reconciler.close)
        await self.begin("manager", self.manager.start, self.manager.close)
        self._warming = asyncio.create_task(self.relay.warm(), name="relay-warm")
        self._on_close("relay", self.relay.close)
        self._on_close("rtp-hosts", self.rtp_hosts.close)
        self._on_close("streams", self.streams.close)
        # the application is a second of work for the loop: calls that wait to go on come first
        await self.recovery.finished(RECOVERY_SECONDS)
        self.serving = True

    async def start_rooms(self) -> None:
        """Start what is told, paid for and ordered; each looks at the role for what of it is to run here."""
        self._on_close("account-edge", self.account_edge.close)
        await self.begin("announcing", self.announcing.start, self.announcing.close)
        await self.begin("accounting", self.accounting.start, self.accounting.close)
        await self.begin("people", partial(self.people.start, self._belongings()), self.people.close)
        await self.begin("numbering", self.numbering.start, self.numbering.close)

    async def start_housekeeping(self, chores: Iterable[Chore]) -> None:
        """Do ``chores`` from now on."""
        housekeeper = Housekeeper(list(chores), telemetry.loop_lag_seconds.set)
        await housekeeper.start()
        self._on_close("housekeeper", housekeeper.close)

    async def start_edge(self) -> None:
        """Have Kamailio hear of what changes."""
        # what Kamailio read at its own start may be older than what the seed wrote since
        self._reload = asyncio.create_task(self._reload_kamailio(), name="kamailio-reload")
        await self.begin("account-reloads", self.account_reloads.start, self.account_reloads.close)

    async def serve(self, application: web.Application) -> None:
        """Listen for HTTP."""
        settings = self.settings
        crowd = Crowd(settings.max_connections_per_address, settings.trusted_proxies)
        server = Server(application, settings.api_host, settings.api_port, crowd=crowd)
        await server.start()
        self._on_close("http", server.close)

    async def _begin_writing(self) -> None:
        # the journal ends first: what it writes last is still to be charged
        await self.begin("charging", self.charging.start, self.charging.close)
        await self.begin("journal", self.journal.start, self.journal.close)

    def _belongings(self) -> Iterable[Part]:
        """Who takes down what a deleted customer leaves."""

        async def route(_customer_id: UUID, route_id: UUID) -> object:
            return await self.routing.delete_route(route_id)

        rooms = Belongs(
            numbers=self.numbering.number_service.delete,
            number_ports=self.numbering.port_service.cancel,
            trunks=self.trunk_accounts.delete,
            extensions=self.extension_accounts.delete,
            routes=route,
            conferences=self.conferences.delete,
            queues=self.queue_service().delete,
            recordings=self.recordings.delete,
        )
        return belongings(self.database, rooms)

    async def _follow(self, followers: Iterable[Follower]) -> None:
        # one after the other on one connection: to open one for each takes longer than to read these tables
        for follower in followers:
            await self.begin(type(follower).__name__, follower.start, follower.close)

    async def begin(
        self, name: str, start: Callable[[], Awaitable[object]], close: Callable[[], Awaitable[None]]
    ) -> None:
        """Start a part, which ``close`` stops again."""
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
        self.serving = False
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

    def application(self, carrier: Carrier | None = None) -> web.Application:
        """The API. ``carrier`` has what is not for this process carried out by others."""
        application = create_app(
            operations_of(self),
            settings=self.settings,
            authenticator=self.authentication,
            readiness=self.readiness,
            idempotency=self.idempotency,
            rates=self.guarding.requests,
            doors=self.guarding.doors,
            auditor=self.people.trail,
            carrier=carrier,
            preparing=(actions.several, actions.one, gc.freeze),
            # libraries that load their tables with their first use
            aside=(partial(import_module, "jwt"), partial(zone, "+12025550123")),
        )
        # the server waits for requests to end, and WebSockets do not end by themselves
        application.on_shutdown.append(lambda _: self.announcing.sockets.close())
        return application

    async def _reload_kamailio(self) -> None:
        try:
            await self.routing.tell()
        except RinglineError as error:
            log.warning("kamailio_not_reloaded", error=error.message)

    async def tell_edge(self) -> None:
        """Tell Kamailio once more what it could not be told."""
        if self.routing.stale:
            await self.routing.tell()

    def queue_service(self) -> QueueService:
        """What the API does with queues."""
        return QueueService(self.database, self.queues, self.joining, self.definitions)

    def recording_upkeep(self) -> RecordingUpkeep:
        """What keeps recordings from filling the disk."""
        return RecordingUpkeep(
            self.database,
            self.recordings,
            keep_days=self.settings.recording_keep_days,
            keep_bytes=self.settings.recording_keep_bytes,
            free_bytes=self.settings.recording_free_bytes,
        )

    def _on_close(self, name: str, close: Close) -> None:
        self._closing.append((name, close))


class Process(Protocol):
    """What runs until it is told to end."""

    async def start(self) -> None: ...

    async def drain(self, grace: float) -> None: ...

    async def close(self) -> None: ...


def _process(settings: Settings) -> Process:
    if settings.role == "all":
        return Controller(settings)
    from ringline import roles  # noqa: PLC0415 - it is made of controllers

    return roles.process(settings)


async def run(settings: Settings) -> None:
    """Serve until the first SIGTERM or SIGINT, which drains; a second one stops at once."""
    controller = _process(settings)
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    try:
        await controller.start()
        # What is there now stays: the collector need not look at it again and again. Nor does it look for what little
        # garbage the start has made: calls would wait a quarter of a second.
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
    """Run this process's role (``ringline serve``)."""
    uvloop.run(run(settings))
