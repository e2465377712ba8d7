"""Flows in execution, looked at and stopped from outside while their calls last; what runs when they are over."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.stack.product import BEEP, SOURCE, Json, Product, eventually, number, sleep, talk

Refused = tuple[int, Json]


async def activeflow(product: Product, call: Json) -> Json:
    shown: Json = await product.api.get(f"/v1.0/activeflows/{call['activeflow_id']}")
    return shown


async def at(product: Product, call: Json, kind: str) -> Json:
    """The activeflow of a call, once it is at an action of this type."""

    async def look() -> Json | None:
        shown = await activeflow(product, call)
        return shown if (shown["current_action"] or {}).get("type") == kind else None

    found: Json = await eventually(look, f"the flow is at {kind}")
    return found


async def test_a_flow_is_seen_where_it_is_and_stopped_there(product: Product) -> None:
    call = await product.place(number(), BEEP, sleep(60), talk("never"))
    running = await at(product, call, "sleep")
    assert (running["status"], running["reference_type"], running["reference_id"]) == (
        "running", "call", call["id"],
    )  # fmt: skip
    assert [(action["type"], action["result"]) for action in running["executed_actions"]] == [("beep", "ok")]
    assert 300 < running["executed_actions"][0]["duration"] < 20_000

    async def listed() -> bool:
        page = await product.api.get("/v1.0/activeflows", reference_id=call["id"], status="running")
        return [flow["id"] for flow in page["result"]] == [running["id"]]

    # a list asks the table, which is written a moment behind
    await eventually(listed, "it is listed as running")

    stopped = await product.api.post(f"/v1.0/activeflows/{running['id']}/stop")
    assert (stopped["status"], stopped["reason"]) == ("ended", "stopped")
    record = await product.ended(call)
    assert (record["hangup_by"], record["hangup_reason"]) == ("local", "normal")
    again = await product.api.post(f"/v1.0/activeflows/{running['id']}/stop")
    assert (again["status"], again["reason"]) == ("ended", "stopped")

    status, _ = await product.api.call("DELETE", f"/v1.0/activeflows/{running['id']}")
    assert status == 200
    status, body = await product.api.call("GET", f"/v1.0/activeflows/{running['id']}")
    assert (status, body["error"]["reason"]) == (404, "ACTIVEFLOW_NOT_FOUND")


async def test_a_flow_that_has_not_begun_can_be_stopped(product: Product) -> None:
    call = await product.place(number("0002"), talk("never"))
    await product.reached(call, "ringing")
    await product.api.post(f"/v1.0/activeflows/{call['activeflow_id']}/stop")
    record = await product.ended(call)
    assert (record["hangup_reason"], record["hangup_by"]) == ("cancel", "local")
    assert (await activeflow(product, call))["reason"] == "stopped"


async def test_what_runs_on_completion(product: Product) -> None:
    after = await product.store_flow(
        talk("skipped: nobody is there"),
        {"type": "variable_set", "option": {"key": "seen", "value": "${voipbin.call.destination.target}"}},
    )
    body = {"name": "first", "actions": [BEEP], "on_complete_flow_id": after}
    first = await product.api.post("/v1.0/flows", body)
    assert first["on_complete_flow_id"] == after
    (call,) = await product.api.post(
        "/v1.0/calls",
        {
            "source": {"type": "tel", "target": SOURCE},
            "destinations": [{"type": "tel", "target": number()}],
            "flow_id": first["id"],
        },
    )
    await product.ended(call)

    async def second() -> Json | None:
        page = await product.api.get("/v1.0/activeflows", flow_id=after)
        return next((flow for flow in page["result"] if flow["status"] == "ended"), None)

    ran: Json = await eventually(second, "the flow on completion has run")
    assert (ran["reference_activeflow_id"], ran["reason"]) == (call["activeflow_id"], "complete")
    assert [(action["type"], action["result"]) for action in ran["executed_actions"]] == [
        ("talk", "skipped"),
        ("variable_set", "ok"),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/v1.0/calls",
            {"destinations": [{"type": "tel", "target": "+15550001234"}], "flow_id": str(uuid4())},
        ),
        ("/v1.0/flows", {"actions": [], "on_complete_flow_id": str(uuid4())}),
        (f"/v1.0/flows/{uuid4()}/simulations", None),
    ],
)
async def test_a_flow_that_is_not_there_is_not_found(product: Product, path: str, body: Json | None) -> None:
    status, answer = await product.api.call("POST", path, body)
    assert (status, answer["error"]["reason"]) == (404, "FLOW_NOT_FOUND")


async def test_a_wrong_flow_is_refused_with_all_that_is_wrong(product: Product) -> None:
    somebody = {"type": "tel", "target": number()}
    actions = [
        {"type": "tlak"},
        {"type": "talk", "option": {"text": "x", "language": "xx-YY"}},
        {"type": "play", "option": {"stream_urls": ["http://10.0.0.1/x.wav"]}},
        {"type": "goto", "option": {"target_id": str(uuid4()), "loop_count": 1}},
    ]
    expected = [
        "actions[0].type",
        "actions[1].option.language",
        "actions[2].option.stream_urls[0]",
        "actions[3].option.target_id",
    ]
    for path, body in (
        ("/v1.0/flows", {"actions": actions}),
        ("/v1.0/flows/simulations", {"actions": actions}),
        ("/v1.0/calls", {"actions": actions, "destinations": [somebody]}),
    ):
        status, answer = await product.api.call("POST", path, body)
        assert status == 400
        assert [detail["field"] for detail in answer["error"]["details"]] == expected
    status, answer = await product.api.call(
        "POST", "/v1.0/flows", {"actions": [{"type": "fetch_flow", "option": {"flow_id": str(uuid4())}}]}
    )
    assert (status, answer["error"]["details"][0]["field"]) == (400, "actions[0].option.flow_id")
    odd = await product.api.post("/v1.0/flows", {"actions": [{"type": "stop"}, BEEP]})
    assert [warning["field"] for warning in odd["warnings"]] == ["actions[1]"]


async def test_a_flow_of_a_thousand_actions(product: Product) -> None:
    many = [
        {"type": "variable_set", "option": {"key": f"k{index % 50}", "value": str(index)}}
        for index in range(499)
    ]
    call = await product.place(number(), *many, sleep(0.2), *many, BEEP)
    await product.ended(call, within=60)
    flow = await eventually(lambda: _ended(product, call), "the activeflow has ended")
    assert (flow["reason"], len(flow["executed_actions"])) == ("complete", 100)
    assert flow["executed_actions"][-1]["type"] == "beep"


async def _ended(product: Product, call: Json) -> Json | None:
    shown = await activeflow(product, call)
    return shown if shown["status"] == "ended" else None
