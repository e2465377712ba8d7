"""Every operation of the API, each with where it runs: anywhere, with a controller, with the owner of a thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringline.calls import control_http
from ringline.calls import http as calls_http
from ringline.cluster.placement import at_controller, at_owner
from ringline.conferences import http as conferences_http
from ringline.customers import (
    AccesskeyService,
    AgentService,
    CustomerService,
    LoginService,
    TagService,
    accesskey_routes,
    agent_routes,
    customer_routes,
    login_routes,
    tag_routes,
)
from ringline.extensions.http import extension_routes
from ringline.extensions.trunks import trunk_routes
from ringline.flows import http as flows_http
from ringline.flows.activeflows_http import activeflow_routes
from ringline.flows.check import Rules
from ringline.flows.simulation.http import simulation_routes
from ringline.groupcalls import http as groupcalls_http
from ringline.http import Route
from ringline.numbers import source_problem
from ringline.outbound import OutboundService, outbound_routes
from ringline.queues.http import queue_routes, queuecall_routes
from ringline.queues.service import QueuecallService
from ringline.recordings import http as recordings_http
from ringline.routing.bans import Bans
from ringline.routing.bans_http import ban_routes
from ringline.routing.http import provider_routes, route_routes
from ringline.traces import http as traces_http
from ringline.transfers import http as transfers_http

if TYPE_CHECKING:
    from ringline.app import Controller


def operations_of(parts: Controller) -> list[Route]:
    """Every operation of the API, each with where it runs."""
    database = parts.database
    customers = CustomerService(
        database,
        parts.customers,
        lambda customer_id, number_id: source_problem(parts.numbers, customer_id, number_id),
        parts.realms,
        parts.check_url,
    )
    return [
        *login_routes(
            LoginService(database, parts.tokens, parts.people.logins, parts.guarding.guesses),
            parts.revoked_tokens,
        ),
        *accesskey_routes(AccesskeyService(database, parts.keys)),
        # who is ringing or busy is in memory
        *at_controller(agent_routes(AgentService(database, parts.agents, parts.presence))),
        *tag_routes(TagService(database, parts.agents, parts.queues.asking)),
        *customer_routes(customers),
        *at_controller(
            outbound_routes(
                OutboundService(
                    database, parts.outbound, parts.customers, customers, parts.whitelist, parts.limits
                )
            )
        ),
        *extension_routes(parts.extension_accounts),
        *trunk_routes(parts.trunk_accounts),
        *at_owner(
            [
                *calls_http.routes(
                    parts.calls, parts.flows, parts.definitions, parts.media.check_language, parts.check_url
                ),
                *traces_http.routes(parts.traces),
                *control_http.routes(parts.calls, parts.controls, parts.whispers, parts.media),
                *recordings_http.routes(parts.recordings, parts.calls),
                *conferences_http.routes(parts.conferences, parts.media.check_language, parts.check_url),
                *activeflow_routes(parts.activeflows),
                *groupcalls_http.routes(
                    parts.groupcalls.service,
                    parts.flows,
                    parts.definitions,
                    parts.media.check_language,
                    parts.check_url,
                ),
            ]
        ),
        *flows_http.routes(parts.definitions, parts.media.check_language, parts.check_url),
        *simulation_routes(parts.definitions, Rules(parts.media.check_language, parts.check_url)),
        *at_owner(transfers_http.routes(parts.transfers), owned="transferer_call_id"),
        *parts.numbering.routes(),
        *parts.guarding.routes(
            parts.limits,
            parts.pacing,
            parts.outbound,
            parts.customers,
            parts.call_counts,
            parts.announcing.sockets,
        ),
        *parts.accounting.routes(),
        *parts.announcing.routes(),
        *parts.people.routes(customers),
        *at_owner(
            [
                *queue_routes(
                    parts.queue_service(),
                    Rules(parts.media.check_language, parts.check_url),
                ),
                *queuecall_routes(QueuecallService(database, parts.joining)),
            ]
        ),
        *provider_routes(parts.routing, parts.provider_health),
        *ban_routes(Bans(parts.kamailio)),
        *route_routes(parts.routing, lambda customer_id: parts.customers.by_id(customer_id) is not None),
    ]
