"""``connect`` and ``call`` without a telephone: their options, how they are checked, and what they let happen."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import TypeAdapter, ValidationError

from ringline.calls.line import Start
from ringline.calls.simulated import Script, simulated_call
from ringline.calls.states import Direction, HangupReason
from ringline.clock import VirtualClock
from ringline.errors import InvalidArgument, NotFound
from ringline.flows.actions import Action, ActionFailed, AnyAction, Call, Connect, NewCalls
from ringline.flows.activeflow import Activeflow
from ringline.flows.calling import MAX_GENERATION, MAX_PLACED, FlowCalls
from ringline.flows.check import MAX_DEPTH, checked
from ringline.sip.address import Address

from .test_runner import run, talk

ONE: TypeAdapter[Action] = TypeAdapter(AnyAction)
LIST: TypeAdapter[list[Action]] = TypeAdapter(list[AnyAction])
SOMEBODY = {"type": "tel", "target": "+15559876543"}


def connect(*to: str, **option: Any) -> dict[str, Any]:
    destinations = [{"type": "tel", "target": target} for target in to]
    return {"type": "connect", "option": {"destinations": destinations, **option}}


def call(*actions: dict[str, Any], **option: Any) -> dict[str, Any]:
    return {"type": "call", "option": {"destinations": [SOMEBODY], "actions": list(actions), **option}}


class TestConnect:
    async def test_the_flow_waits_for_the_conversation_and_goes_on(self) -> None:
        ran = await run(
            connect("+15550000001", "+15550000002"),
            talk("bye"),
            script=Script(answers_after=2.0, talks_for=30.0),
        )
        assert ran.trace == [
            (0.0, "connect", "+15550000001,+15550000002"),
            (2.0, "connected", ""),
            (32.0, "disconnected", ""),
            (32.0, "play", "/speech/bye"),
            (32.3, "hangup", "normal"),
        ]

    async def test_nobody_answers_and_the_flow_goes_on(self) -> None:
        ran = await run(connect("+15550000001"), talk("sorry"), script=Script(answers_after=None))
        assert [what for _, what, _ in ran.trace] == ["connect", "play", "hangup"]
        assert ran.failures == []

    async def test_nobody_answers_and_the_reason_is_relayed(self) -> None:
        ran = await run(
            connect("+15550000001", relay_reason=True),
            talk("never"),
            script=Script(answers_after=None),
            direction=Direction.INCOMING,
        )
        assert [(what, detail) for _, what, detail in ran.trace] == [
            ("connect", "+15550000001"),
            ("hangup", HangupReason.DIALOUT.value),
        ]

    async def test_an_answer_answers_the_caller_too(self) -> None:
        ran = await run(connect("+15550000001"), direction=Direction.INCOMING)
        assert [what for _, what, _ in ran.trace][:3] == ["connect", "answer", "connected"]

    async def test_a_caller_who_hangs_up_while_it_rings(self) -> None:
        ran = await run(connect("+15550000001"), talk("never"), script=Script(hangs_up_at=0.5))
        assert [what for _, what, _ in ran.trace] == ["connect", "hangup"]
        assert ran.flow.reason == "hangup"

    async def test_a_variable_names_the_destination(self) -> None:
        ran = await run(connect("${agent}"), variables={"agent": "+15550000009"})
        assert ran.trace[0] == (0.0, "connect", "+15550000009")

    def test_defaults(self) -> None:
        action = ONE.validate_python(connect("+15550000001"))
        assert isinstance(action, Connect)
        option = action.option
        assert (option.early_media, option.relay_reason, option.anonymous) == (False, False, "auto")
        assert option.source.target == ""

    @pytest.mark.parametrize(
        ("option", "place", "says"),
        [
            ({"destinations": []}, ("destinations",), "at least 1"),
            ({"destinations": [SOMEBODY] * 11}, ("destinations",), "at most 10"),
            (
                {"destinations": [SOMEBODY, {"type": "tel", "target": "555 123"}]},
                ("destinations", 1),
                "E.164",
            ),
            (
                {"destinations": [{"type": "tel", "target": "(650) 253-0000"}]},
                ("destinations", 0),
                "+16502530000",
            ),
            (
                {"destinations": [{"type": "conference", "target": "test11"}]},
                ("destinations", 0),
                "'conference' cannot be called",
            ),
            (
                {"destinations": [{"type": "extension", "target": "test 11"}]},
                ("destinations", 0),
                "'test 11' is not an extension",
            ),
            (
                {"destinations": [{"type": "sip", "target": "sips:a@b.example"}]},
                ("destinations", 0),
                "TLS",
            ),
            ({"destinations": [SOMEBODY], "source": {"type": "tel", "target": "1"}}, ("source",), "E.164"),
            ({"destinations": [SOMEBODY], "anonymous": "maybe"}, ("anonymous",), "'yes'"),
            ({"destinations": [SOMEBODY], "earlymedia": True}, ("earlymedia",), "not permitted"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_place(
        self, option: dict[str, Any], place: tuple[Any, ...], says: str
    ) -> None:
        with pytest.raises(ValidationError) as raised:
            LIST.validate_python([{"type": "connect", "option": option}])
        fault = raised.value.errors()[0]
        assert fault["loc"] == (0, "connect", "option", *place)
        assert says in fault["msg"]


class TestCall:
    async def test_the_flow_goes_on_at_once_and_the_actions_keep_their_variables(self) -> None:
        placed = Placed()
        await placed.run(call(talk("hello ${name}"), anonymous="yes"), variables={"name": "${other}"})
        (order,) = placed.orders
        assert (order["anonymous"], order["chained"], order["start"]) == ("yes", False, Start.ON_ANSWER)
        made = order["prepare"]()
        assert made.actions[0]["option"]["text"] == "hello ${name}", "put in where it runs, once"
        assert made.snapshot.variables == {"name": "${other}"}
        assert made.generation == 1

    async def test_a_stored_flow_wins(self) -> None:
        placed = Placed()
        await placed.run(
            call(talk("inline"), flow_id=str(placed.flow_id), chained=True, early_execution=True)
        )
        (order,) = placed.orders
        assert (order["chained"], order["start"]) == (True, Start.ON_RINGING)
        assert order["prepare"]().actions == placed.stored

    async def test_an_unknown_flow_is_a_failure_and_the_flow_goes_on(self) -> None:
        placed = Placed()
        with pytest.raises(NotFound):
            await placed.run(call(flow_id=str(uuid4())))

    async def test_calls_of_calls_end(self) -> None:
        placed = Placed()
        placed.parent.generation = MAX_GENERATION
        with pytest.raises(ActionFailed, match="generation"):
            await placed.run(call(talk("again")))

    async def test_a_loop_around_call_ends(self) -> None:
        placed = Placed()
        for _ in range(MAX_PLACED):
            await placed.run(call(talk("again")))
        with pytest.raises(ActionFailed) as raised:
            await placed.run(call(talk("again")))
        assert raised.value.reason == "TOO_MANY_CALLS"
        assert len(placed.orders) == MAX_PLACED

    async def test_without_a_telephone_it_is_noted(self) -> None:
        ran = await run(call(talk("there")), talk("here"))
        assert [what for _, what, _ in ran.trace] == ["play", "hangup"]
        assert ran.failures == []

    def test_it_needs_something_to_do(self) -> None:
        with pytest.raises(ValidationError, match="needs `actions` or a `flow_id`"):
            ONE.validate_python(call())

    def test_nested_actions_are_checked_with_their_place(self) -> None:
        inner = call({"type": "talk", "option": {}})
        with pytest.raises(ValidationError) as raised:
            LIST.validate_python([talk("x"), inner])
        assert raised.value.errors()[0]["loc"] == (
            1, "call", "option", "actions", 0, "talk", "option", "text",
        )  # fmt: skip
        jump = {"type": "goto", "option": {"target_id": str(uuid4()), "loop_count": 1}}
        with pytest.raises(InvalidArgument) as refused:
            checked(LIST.validate_python([call(talk("x"), jump)], strict=False), lambda tag: tag)
        assert refused.value.details[0]["field"] == "actions[0].option.actions[1].option.target_id"

    def test_what_was_checked_runs(self) -> None:
        (raw,) = checked(LIST.validate_python([call(call(talk("deep")))], strict=False), lambda tag: tag)
        again = ONE.validate_python(raw, strict=False)
        assert isinstance(again, Call)
        assert isinstance(again.option.actions[0], Call)

    @pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 120, 400])
    def test_nesting_has_an_end(self, depth: int) -> None:
        action = talk("x")
        for _ in range(depth):
            action = call(action)
        with pytest.raises((InvalidArgument, ValidationError)):
            checked(LIST.validate_python([action], strict=False), lambda tag: tag)


class Placed:
    """Calls that a flow places, up to where they would be dialled."""

    def __init__(self) -> None:
        self.flow_id = uuid4()
        self.stored = [{"id": str(uuid4()), "type": "hangup", "option": {}}]
        self.orders: list[dict[str, Any]] = []
        self.call = simulated_call(VirtualClock())
        self.parent = Activeflow(uuid4(), self.call.customer_id, uuid4(), [], VirtualClock().now())
        self.calls = FlowCalls(self, self, self)  # type: ignore[arg-type]

    async def actions(self, customer_id: UUID, flow_id: UUID) -> list[dict[str, Any]]:
        if flow_id != self.flow_id:
            raise NotFound("there is no such flow")
        return self.stored

    def active(self, call_id: UUID) -> Activeflow:
        return self.parent

    def prepare(
        self, customer_id: UUID, flow_id: UUID, actions: list[Any], variables: dict[str, str]
    ) -> Activeflow:
        made = Activeflow(uuid4(), customer_id, flow_id, actions, VirtualClock().now())
        made.snapshot.variables.update(variables)
        return made

    def place_from(self, parent: Any, **order: Any) -> list[Any]:
        assert parent is self.call
        assert all(isinstance(address, Address) for address in order["destinations"])
        self.orders.append(order)
        return []

    async def run(self, action: dict[str, Any], variables: dict[str, str] | None = None) -> None:
        (raw,) = checked([ONE.validate_python(action, strict=False)], lambda tag: tag)
        option = ONE.validate_python(raw, strict=False).option  # type: ignore[attr-defined]
        await self.calls.place(
            self.call,
            NewCalls(
                source=option.source,
                destinations=option.destinations,
                anonymous=option.anonymous,
                flow_id=option.flow_id,
                actions=raw["option"]["actions"],
                variables={"voipbin.call.digits": "1", **(variables or {})},
                chained=option.chained,
                early=option.early_execution,
            ),
        )
