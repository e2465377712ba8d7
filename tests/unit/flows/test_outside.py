"""``fetch``, ``fetch_flow`` and ``webhook_send``: what is asked, what is accepted, what ends the flow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from ringline.calls.absent import AbsentLeg
from ringline.calls.call import Call
from ringline.calls.notes import FailureNotes
from ringline.calls.simulated import Script, SimulatedLeg, simulated_call
from ringline.clock import VirtualClock
from ringline.errors import InvalidArgument, NotFound, ResourceExhausted
from ringline.flows import engine
from ringline.flows.actions import Services
from ringline.flows.actions.fetch import MAX_FETCHES
from ringline.flows.actions.webhook_send import MAX_WEBHOOKS
from ringline.flows.activeflow import Activeflow
from ringline.flows.calling import NotedCalls
from ringline.flows.check import canonical
from ringline.flows.fetching import Fetcher
from ringline.flows.runner import Runner
from ringline.flows.webhooks import FlowWebhooks, text
from ringline.streams.models import StreamWanted
from ringline.webhooks.delivery import Delivery
from ringline.webhooks.exchange import Answer, ExchangeFailed, Request

from .test_runner import ADAPTER, Media, Observed, Ran, talk

TARGET = "11111111-1111-4111-8111-111111111111"


class Server:
    """Answers every request with what ``answer`` returns; keeps the requests."""

    def __init__(self, answer: Callable[[Request], Any]) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    async def run(
        self, request: Request, *, max_bytes: int, cut: bool = False, seconds: float = 10.0
    ) -> Answer:
        self.requests.append(request)
        found = self.answer(request)
        if isinstance(found, Exception):
            raise found
        if isinstance(found, Answer):
            return found
        return Answer(200, found if isinstance(found, bytes) else orjson.dumps(found))


class Queue:
    """Stands for the background sender."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.posted: list[Delivery] = []

    def post(self, delivery: Delivery) -> None:
        if self.full:
            raise ResourceExhausted("too many wait", reason="WEBHOOK_QUEUE_FULL")
        self.posted.append(delivery)


class Stored:
    def __init__(self, **flows: list[dict[str, Any]]) -> None:
        self.flows = {UUID(name.replace("_", "-")): made(*actions) for name, actions in flows.items()}
        self.asked: list[tuple[UUID, UUID]] = []

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[dict[str, Any]]:
        self.asked.append((customer_id, flow_id))
        if flow_id not in self.flows:
            raise NotFound(f"flow_id: there is no flow {flow_id}", reason="FLOW_NOT_FOUND")
        return self.flows[flow_id]


def made(*actions: dict[str, Any]) -> list[dict[str, Any]]:
    return canonical(ADAPTER.validate_python(list(actions), strict=False))


def _language(tag: str) -> str:
    if tag == "xx-XX":
        raise InvalidArgument("no engine speaks xx-XX")
    return tag


async def run(
    *actions: dict[str, Any],
    server: Server | None = None,
    queue: Queue | None = None,
    stored: Stored | None = None,
    streams: Streams | None = None,
    variables: dict[str, str] | None = None,
    script: Script | None = None,
) -> Ran:
    clock = VirtualClock()
    call = simulated_call(clock)
    leg = SimulatedLeg(call, clock, script)
    flow = Activeflow(uuid4(), call.customer_id, uuid4(), made(*actions), clock.now())
    call.flow_id, call.activeflow_id, flow.reference_id = flow.flow_id, flow.id, call.id
    flow.snapshot.variables.update(variables or {})
    observed, media = Observed(), Media()
    server = server or Server(lambda _: [])
    services = Services(
        calls=NotedCalls(),
        fetches=Fetcher(server, _language),
        flows=stored,
        streams=streams,
        webhooks=FlowWebhooks(queue or Queue(), server, FailureNotes(clock, lambda _: None)),  # type: ignore[arg-type]
    )
    await Runner(flow, leg, media, clock, observed, services).run()
    return Ran(leg, flow, observed, media)


def fetch(url: str = "http://a.example/menu", method: str = "POST", **more: Any) -> dict[str, Any]:
    return {"type": "fetch", "option": {"event_url": url, "event_method": method}, **more}


def webhook(**option: Any) -> dict[str, Any]:
    return {"type": "webhook_send", "option": {"uri": "http://a.example/hook", **option}}


def said(ran: Ran) -> list[str]:
    return [detail.rpartition("/")[2] for _, what, detail in ran.trace if what == "play"]


def why(ran: Ran) -> tuple[str, str]:
    """Reason of the flow's end, and the sentence on the call."""
    return ran.flow.reason, ran.leg.call.failures[-1].message


# fetch


@pytest.mark.parametrize("shape", [lambda actions: actions, lambda actions: {"actions": actions}])
async def test_what_is_fetched_runs_first_and_then_what_follows(shape: Callable[[Any], Any]) -> None:
    server = Server(lambda _: shape([talk("one"), {"type": "talk", "option": {"text": "two ${name}"}}]))
    ran = await run(talk("zero"), fetch(), talk("three"), server=server, variables={"name": "you"})
    assert said(ran) == ["zero", "one", "two you", "three"]
    assert ran.flow.reason == "complete"


async def test_what_a_post_carries() -> None:
    server = Server(lambda _: [])
    ran = await run(fetch(), server=server, variables={"colour": "red"})
    (request,) = server.requests
    sent = json.loads(request.body or b"")
    call = ran.leg.call
    assert set(sent) == {"id", "activeflow", "call", "variables"}
    assert sent["activeflow"] == {
        "id": str(ran.flow.id),
        "customer_id": str(call.customer_id),
        "flow_id": str(ran.flow.flow_id),
        "reference_type": "call",
        "reference_id": str(call.id),
        "current_action": {"id": ran.flow.actions[0]["id"], "type": "fetch"},
    }
    assert (sent["call"]["id"], sent["call"]["source"]["target"]) == (str(call.id), "+15551234567")
    assert sent["variables"] == {"colour": "red"}
    assert request.headers == {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Webhook-Id": sent["id"],
        "X-Ringline-Customer-Id": str(call.customer_id),
        "X-Ringline-Activeflow-Id": str(ran.flow.id),
        "X-Ringline-Call-Id": str(call.id),
    }


async def test_a_flow_without_a_call_says_so() -> None:
    clock, server, queue = VirtualClock(), Server(lambda _: []), Queue()
    leg = AbsentLeg(uuid4(), clock.now())
    flow = Activeflow(uuid4(), leg.call.customer_id, uuid4(), made(fetch(), webhook(data="{}")), clock.now())
    flow.reference_type, flow.reference_id = "recording", uuid4()
    webhooks = FlowWebhooks(queue, server, FailureNotes(clock, pytest.fail))  # type: ignore[arg-type]
    services = Services(NotedCalls(), fetches=Fetcher(server, _language), webhooks=webhooks)
    await Runner(flow, leg, Media(), clock, Observed(), services).run()
    sent = json.loads(server.requests[0].body or b"")
    assert sent["call"] is None
    assert sent["activeflow"]["reference_type"] == "recording"
    assert sent["activeflow"]["reference_id"] == str(flow.reference_id)
    (delivery,) = queue.posted
    assert "X-Ringline-Call-Id" not in {**delivery.request.headers, **server.requests[0].headers}
    delivery.failed("WEBHOOK_TIMEOUT", "nobody's record is touched")
    assert flow.reason == "complete"


async def test_a_get_has_no_body_and_variables_lead_nowhere_else() -> None:
    server = Server(lambda _: [])
    hostile = {"name": "a b&admin=1#x", "path": "../x?y", "host": "http://b.example"}
    await run(
        fetch("http://a.example/${path}?n=${name}", "GET"),
        fetch("${host}/z"),
        server=server,
        variables=hostile,
    )
    first, second = server.requests
    assert (first.method, first.body) == ("GET", None)
    assert first.url == "http://a.example/../x%3Fy?n=a%20b%26admin%3D1%23x"
    assert second.url == "http://b.example/z"


@pytest.mark.parametrize("answer", [[], {"actions": []}, Answer(204)])
async def test_nothing_to_do_is_an_answer(answer: Any) -> None:
    ran = await run(fetch(), talk("on"), server=Server(lambda _: answer))
    assert (said(ran), ran.flow.reason) == (["on"], "complete")


@pytest.mark.parametrize(
    ("answer", "reason", "message"),
    [
        (Answer(500, b"[]"), "FETCH_STATUS", "answered 500, not 200"),
        (Answer(302), "FETCH_STATUS", "302"),
        (b"<html>", "FETCH_INVALID", "no list of actions"),
        (b"", "FETCH_INVALID", "no list of actions"),
        (b"\xff\xfe", "FETCH_INVALID", "no list of actions"),
        (b"[" * 100_000, "FETCH_INVALID", "no list of actions"),
        ({"actions": {}}, "FETCH_INVALID", "actions"),
        ({"actions": [], "also": 1}, "FETCH_INVALID", "also"),
        ([{"type": "tolk", "option": {}}], "FETCH_INVALID", "actions[0]"),
        ([talk("a"), talk("b", volume=3)], "FETCH_INVALID", "actions[1].option.volume"),
        ([talk("a", language="xx-XX")], "FETCH_INVALID", "no engine speaks"),
        ([talk("a")] * 1001, "FETCH_INVALID", "1000"),
        ([talk("nul\0")], "FETCH_INVALID", "U+0000"),
        (
            [{"type": "goto", "option": {"target_id": TARGET, "loop_count": 1}}],
            "FETCH_INVALID",
            f"no action of this flow has the id {TARGET}",
        ),
        (ExchangeFailed("FORBIDDEN", "10.0.0.1 is not a public address"), "FETCH_FORBIDDEN", "10.0.0.1"),
        (ExchangeFailed("TIMEOUT", "no complete answer within 10 s"), "FETCH_TIMEOUT", "within 10 s"),
        (ExchangeFailed("TOO_LARGE", "more than 262144 bytes"), "FETCH_TOO_LARGE", "262144"),
    ],
)
async def test_without_a_list_of_actions_the_flow_ends_and_says_why(
    answer: Any, reason: str, message: str
) -> None:
    ran = await run(talk("before"), fetch(), talk("never"), server=Server(lambda _: answer))
    assert said(ran) == ["before"]
    found, sentence = why(ran)
    assert found == reason
    assert message in sentence
    assert ran.leg.call.ended


async def test_a_fetched_list_may_jump_to_what_is_around_it() -> None:
    lists = [
        [
            talk(
                "one",
            ),
            {"type": "talk", "id": TARGET, "option": {"text": "again"}},
            fetch(),
            talk("after"),
        ],
        [{"type": "goto", "option": {"target_id": TARGET, "loop_count": 1}}, talk("end")],
        [],
    ]
    ran = await run(fetch(), server=Server(lambda _: lists.pop(0) if len(lists) > 1 else lists[0]))
    assert said(ran) == ["one", "again", "again", "after"]
    assert ran.flow.reason == "complete"


async def test_a_fetched_list_may_jump_into_the_flow_itself() -> None:
    again = {"type": "goto", "option": {"target_id": TARGET, "loop_count": 1}}
    server = Server(lambda _: [again] if len(server.requests) == 1 else [])
    ran = await run({"type": "talk", "id": TARGET, "option": {"text": "one"}}, fetch(), server=server)
    assert (said(ran), ran.flow.reason) == (["one", "one"], "complete")


async def test_a_fetch_that_fetches_itself_ends_at_the_depth() -> None:
    server = Server(lambda _: [fetch()])
    ran = await run(fetch(), server=server)
    assert why(ran)[0] == "TOO_DEEP"
    assert len(server.requests) == engine.MAX_DEPTH


async def test_long_lists_within_each_other_end_before_they_are_stored() -> None:
    server = Server(lambda _: [fetch(), *[talk("x" * 4000)] * 40])
    ran = await run(fetch(), server=server)
    assert 2 <= len(server.requests) <= 4
    assert why(ran)[0] == "SNAPSHOT_TOO_LARGE"
    assert len(orjson.dumps(ran.flow.snapshot.as_json())) < 2 * engine.MAX_FRAME_BYTES


async def test_a_loop_that_waits_between_fetches_ends_by_their_number() -> None:
    server = Server(lambda _: [{"type": "sleep", "option": {"duration": 200}}])
    ran = await run(
        {"type": "fetch", "id": TARGET, "option": {"event_url": "http://a.example/"}},
        {"type": "goto", "option": {"target_id": TARGET, "loop_count": 100_000}},
        server=server,
    )
    assert why(ran)[0] == "FETCH_LIMIT"
    assert len(server.requests) == MAX_FETCHES
    assert ran.flow.snapshot.from_json(ran.flow.snapshot.as_json()).counts == {"fetch": MAX_FETCHES}


async def test_without_a_service_the_flow_says_what_it_would_have_done() -> None:
    clock = VirtualClock()
    leg = SimulatedLeg(simulated_call(clock), clock)
    actions = made(fetch(), webhook(), {"type": "fetch_flow", "option": {"flow_id": TARGET}})
    flow = Activeflow(uuid4(), leg.call.customer_id, uuid4(), actions, clock.now())
    await Runner(flow, leg, Media(), clock, Observed()).run()
    assert [(heard.what, heard.detail) for heard in leg.trace][:3] == [
        ("fetch", "POST http://a.example/menu"),
        ("webhook_send", "POST http://a.example/hook"),
        ("fetch_flow", TARGET),
    ]
    assert flow.reason == "complete"


# fetch_flow


async def test_a_stored_flow_runs_within_this_one() -> None:
    name = TARGET.replace("-", "_")
    stored = Stored(**{name: [talk("inner")]})
    ran = await run(
        talk("a"), {"type": "fetch_flow", "option": {"flow_id": TARGET}}, talk("b"), stored=stored
    )
    assert said(ran) == ["a", "inner", "b"]
    assert stored.asked == [(ran.leg.call.customer_id, UUID(TARGET))]


async def test_a_stored_flow_that_is_not_there_ends_this_one() -> None:
    ran = await run({"type": "fetch_flow", "option": {"flow_id": TARGET}}, talk("never"), stored=Stored())
    assert why(ran) == ("FLOW_NOT_FOUND", f"flow_id: there is no flow {TARGET}")
    assert said(ran) == []


async def test_a_flow_that_runs_itself_ends_at_the_depth() -> None:
    itself = {"type": "fetch_flow", "option": {"flow_id": TARGET}}
    ran = await run(itself, stored=Stored(**{TARGET.replace("-", "_"): [itself]}))
    assert why(ran)[0] == "TOO_DEEP"


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("fetch", {"event_url": "ftp://a.example/"}),
        ("fetch", {"event_url": "http://u:p@a.example/"}),
        ("fetch", {"event_url": "http://a.example/", "event_method": "PUT"}),
        ("fetch", {}),
        ("fetch_flow", {"flow_id": str(UUID(int=0))}),
        ("fetch_flow", {"flow_id": "x"}),
        ("webhook_send", {"uri": "/path"}),
        ("webhook_send", {"uri": "http://a.example/", "method": "PATCH"}),
        ("webhook_send", {"uri": "http://a.example/", "method": "GET", "data": "x"}),
        ("webhook_send", {"uri": "http://a.example/", "data_type": "json\r\nX-Evil: 1"}),
        ("webhook_send", {"uri": "http://a.example/", "data": "x" * 131_073}),
    ],
)
def test_what_can_never_work_is_refused_when_it_is_posted(kind: str, option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="option"):
        made({"type": kind, "option": option})


# webhook_send


async def test_a_webhook_is_handed_over_and_the_flow_goes_on() -> None:
    queue, server = Queue(), Server(lambda _: ExchangeFailed("TIMEOUT", "never"))
    data = '{"who": "${name}", "digits": ${count}, "all": ${json}}'
    variables = {"name": 'Joe "x": \\ \n', "count": "3", "json": '{"a": [1]}'}
    ran = await run(webhook(data=data), talk("on"), queue=queue, server=server, variables=variables)
    assert (said(ran), ran.failures, server.requests) == (["on"], [], [])
    (delivery,) = queue.posted
    request = delivery.request
    assert json.loads(request.body or b"") == {"who": variables["name"], "digits": 3, "all": {"a": [1]}}
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Webhook-Id"] == str(delivery.id)
    assert request.headers["X-Ringline-Call-Id"] == str(ran.leg.call.id)
    delivery.failed("WEBHOOK_TIMEOUT", "no complete answer within 10 s")
    assert ran.failures == [("webhook_send", "WEBHOOK_TIMEOUT")]


async def test_text_is_not_escaped_and_a_get_has_no_body() -> None:
    queue = Queue()
    await run(
        webhook(data='say "${x}"', data_type="text/plain", method="PUT"),
        webhook(method="GET"),
        queue=queue,
        variables={"x": '"'},
    )
    put, get = (delivery.request for delivery in queue.posted)
    assert (put.body, put.headers["Content-Type"]) == (b'say """', "text/plain")
    assert (get.body, "Content-Type" in get.headers) == (None, False)


async def test_sync_keeps_status_and_body_and_two_webhooks_have_two_ids() -> None:
    server = Server(lambda _: Answer(418, "grün\0\x1b".encode()))
    status = "${voipbin.webhook.status_code} ${voipbin.webhook.body}"
    ran = await run(webhook(sync=True), webhook(sync=True), talk(status), server=server)
    assert said(ran) == ["418 grün"]
    assert ran.failures == []
    assert len({request.headers["Webhook-Id"] for request in server.requests}) == 2


async def test_sync_without_an_answer_is_noted_and_leaves_nothing_of_the_one_before() -> None:
    answers: list[Any] = [Answer(200, b"old"), ExchangeFailed("FORBIDDEN", "127.0.0.1 is not public")]
    ran = await run(
        webhook(sync=True),
        webhook(sync=True),
        talk("empty ${voipbin.webhook.status_code}${voipbin.webhook.body}."),
        server=Server(lambda _: answers.pop(0)),
    )
    assert said(ran) == ["empty ."]
    assert ran.failures == [("webhook_send", "WEBHOOK_FORBIDDEN")]
    assert ran.flow.reason == "complete"


async def test_a_full_queue_and_too_many_webhooks_are_noted_and_the_flow_goes_on() -> None:
    ran = await run(webhook(), talk("on"), queue=Queue(full=True))
    assert (said(ran), ran.failures) == (["on"], [("webhook_send", "WEBHOOK_QUEUE_FULL")])
    queue = Queue()
    ran = await run(
        {"type": "webhook_send", "id": TARGET, "option": {"uri": "http://a.example/"}},
        {"type": "sleep", "option": {"duration": 200}},
        {"type": "goto", "option": {"target_id": TARGET, "loop_count": MAX_WEBHOOKS + 4}},
        talk("on"),
        queue=queue,
    )
    assert len(queue.posted) == MAX_WEBHOOKS
    assert set(ran.failures) == {("webhook_send", "WEBHOOK_LIMIT")}
    assert said(ran) == ["on"]


async def test_a_uri_that_comes_to_nothing_is_noted() -> None:
    queue = Queue()
    ran = await run(webhook(uri="${nothing}"), talk("on"), queue=queue)
    assert ran.failures == [("webhook_send", "INVALID_OPTION")]
    assert (queue.posted, said(ran)) == ([], ["on"])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(200, "ä".encode("latin-1"), charset="iso-8859-1"), "ä"),
        (Answer(200, b"a\xff", charset="utf-8"), "a\ufffd"),
        (Answer(200, "aä".encode()[:2], whole=False), "a"),
        (Answer(200, b"abc", charset="zip"), "abc"),
        (Answer(200, b"a\0b\tc\nd\x7f"), "ab\tc\nd"),
    ],
)
def test_a_body_as_text(answer: Answer, expected: str) -> None:
    assert text(answer) == expected


def test_a_body_is_cut_to_its_limit_in_bytes() -> None:
    kept = text(Answer(200, b"\xff" * 16_384))
    assert len(kept.encode()) <= 16_384
    assert set(kept) == {"\ufffd"}


# external media


class Streams:
    def __init__(self) -> None:
        self.wanted: list[StreamWanted] = []
        self.stopped = 0

    async def start(self, call: Call, wanted: StreamWanted) -> None:
        self.wanted.append(wanted)

    def stop(self, call: Call) -> int:
        self.stopped += 1
        return 0


def media(host: str, **option: Any) -> dict[str, Any]:
    return {"type": "external_media_start", "option": {"external_host": host, **option}}


async def test_what_a_stream_is_asked_for() -> None:
    streams = Streams()
    ran = await run(
        media("media.example:4000"),
        media(
            "wss://a.example/x?name=${name}",
            type="websocket",
            format="slin16",
            direction_listen="in",
            direction_speak="",
            encapsulation="none",
            transport="websocket",
            data="${name}",
        ),
        {"type": "external_media_stop"},
        streams=streams,
        variables={"name": "a b\r\n"},
    )
    assert ran.failures == []
    rtp, websocket = streams.wanted
    assert (rtp.kind, rtp.host, rtp.format, rtp.listen, rtp.speak) == (
        "rtp",
        "media.example:4000",
        "ulaw",
        "both",
        "out",
    )
    assert (websocket.kind, websocket.host) == ("websocket", "wss://a.example/x?name=a%20b%0D%0A")
    assert (websocket.format, websocket.listen, websocket.speak) == ("slin16", "in", "out")
    assert websocket.headers["X-Ringline-Data"] == "a%20b%0D%0A"
    assert websocket.headers["X-Ringline-Stream-Id"] == str(websocket.id)
    assert websocket.action_id == UUID(ran.flow.actions[1]["id"])
    assert websocket.id != rtp.id
    assert StreamWanted.from_json(orjson.loads(orjson.dumps(websocket.as_json()))) == websocket
    assert streams.stopped == 1


@pytest.mark.parametrize(
    ("host", "option", "message"),
    [
        ("media.example", {}, "host:port"),
        ("media.example:80", {}, "1024 to 65535"),
        ("media.example:70000", {}, "1024 to 65535"),
        ("http://media.example:4000", {}, "host:port"),
        ("media.example:4000", {"type": "websocket"}, "wss://"),
        ("https://a.example/", {"type": "websocket"}, "wss://"),
        ("wss://u:p@a.example/", {"type": "websocket"}, "credentials"),
        ("wss://a.example/", {"type": "websocket", "transport": "udp"}, "transport: must be `websocket`"),
        ("media.example:4000", {"encapsulation": "none"}, "encapsulation: must be `rtp`"),
        ("media.example:4000", {"connection_type": "server"}, "connection_type"),
        ("media.example:4000", {"transport_data": "c(ulaw)"}, "transport_data"),
        ("media.example:4000", {"format": "opus"}, "format"),
        ("media.example:4000", {"direction_listen": "none", "direction_speak": "none"}, "nothing to carry"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(host: str, option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        made(media(host, **option))


@pytest.mark.parametrize("host", ["${nothing}", "${evil}"])
async def test_a_host_that_comes_to_nothing_is_noted(host: str) -> None:
    streams = Streams()
    ran = await run(
        media(host), media(host, type="websocket"), streams=streams, variables={"evil": "a.example:4000/c(x)"}
    )
    assert ran.failures == [("external_media_start", "INVALID_OPTION")] * 2
    assert streams.wanted == []


def test_the_url_of_a_websocket_is_there_to_be_checked() -> None:
    (action,) = ADAPTER.validate_python([media("wss://a.example/", type="websocket")], strict=False)
    assert action.urls() == {"option.external_host": "https://a.example/"}
