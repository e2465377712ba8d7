"""Groupcalls on a switchboard with everything around it faked: phones are answered, busy or silent as a test says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import orjson

from ringline.calls.call import ZERO, Call
from ringline.calls.destinations import Destinations, RingMethod
from ringline.calls.ordering import Ordering
from ringline.clock import SystemClock
from ringline.extensions import Extension
from ringline.groupcalls.groupcall import Groupcall
from ringline.groupcalls.ring import Ring
from ringline.groupcalls.rings import Rings
from ringline.sip.address import Address
from tests.unit.calls.desk import Desk
from tests.unit.calls.fakes import Hooks

OWN, FOREIGN = "+15551234567", "+15550000001"
DOMAIN = "ringline.test"
SOURCE = Address(type="tel", target=OWN)


def tel(ending: int) -> Address:
    return Address(type="tel", target=f"+1555987{ending:04}")


class Flows(Hooks):
    """Flows that are attached and never run."""

    def __init__(self) -> None:
        super().__init__()
        self.attached: dict[UUID, Any] = {}

    def attach(self, activeflow: Any, call: Call) -> None:
        self.attached[call.id] = activeflow
        call.activeflow_id = activeflow.id
        call.flow_id = activeflow.flow_id

    def detach(self, call: Call) -> None:
        self.attached.pop(call.id, None)


class Behind:
    def __init__(self) -> None:
        self.touched: list[tuple[UUID, str]] = []

    def touch(self, record: Groupcall) -> None:
        self.touched.append((record.id, record.status.value))


class Kept:
    """What is kept for a successor, as it is written."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}

    def keep(self, part: str, key: str, value: dict[str, Any]) -> None:
        assert part == "groupcalls"
        self.parts[key] = orjson.dumps(value, default=str)

    def found(self) -> dict[str, Any]:
        """As a successor reads it."""
        return {key: orjson.loads(text) for key, text in self.parts.items()}

    def drop(self, part: str, key: str) -> None:
        self.parts.pop(key, None)


class Table(Desk):
    """One customer with numbers, two extensions and agents."""

    def __init__(self, **timing: float) -> None:
        super().__init__(**timing)
        self.customer = SimpleNamespace(
            id=uuid4(), status="active", domain_label="test", default_outgoing_source_number_id=None
        )
        self.agents: dict[UUID, Any] = {}
        self.kinds: dict[UUID, frozenset[str]] = {}
        realm = f"test.{DOMAIN}"
        self.extensions = [
            Extension(uuid4(), self.customer.id, name, name, realm) for name in ("test11", "test12")
        ]
        self.extensions.append(Extension(uuid4(), uuid4(), "other", "other", f"other.{DOMAIN}"))
        self.destinations = Destinations(
            sip_domain=DOMAIN,
            extensions=self,
            agents=SimpleNamespace(by_id=self.agents.get),
            registrations=SimpleNamespace(kinds=lambda row_id: self.kinds.get(row_id, frozenset())),
        )
        self.flows = Flows()
        self.kept = Kept()
        self.ordering = Ordering(
            self.board,
            SimpleNamespace(by_id=lambda _: self.customer),  # type: ignore[arg-type]
            SimpleNamespace(owned=self.owned, by_number=self.by_number, by_id=lambda _: None),  # type: ignore[arg-type]
            sip_domain=DOMAIN,
            destinations=self.destinations,
        )
        self.behind = Behind()
        self.rings = self.new_rings()

    def new_rings(self) -> Rings:
        """Those of a controller's life."""
        return Rings(
            self.board,
            self.ordering,
            self.journal,  # type: ignore[arg-type]
            self.flows,
            self.behind,
            SystemClock(),
            self.kept,
        )

    # what the destinations read

    def by_id(self, row_id: UUID) -> Extension | None:
        return next((one for one in self.extensions if one.id == row_id), None)

    def by_name(self, domain_name: str, extension: str) -> Extension | None:
        found = (
            one for one in self.extensions if (one.domain_name, one.extension) == (domain_name, extension)
        )
        return next(found, None)

    def by_number(self, number: str) -> Any:
        owner = {OWN: self.customer.id, FOREIGN: uuid4()}.get(number)
        if owner is None:
            return None
        return SimpleNamespace(number=number, type="normal", status="active", customer_id=owner)

    def owned(self, customer_id: UUID, number: str) -> Any:
        found = self.by_number(number)
        return found if found is not None and found.customer_id == customer_id else None

    def agent(
        self, *addresses: Address, ring_method: str = "ringall", customer: UUID | None = None
    ) -> Address:
        agent_id = uuid4()
        self.agents[agent_id] = SimpleNamespace(
            customer_id=customer or self.customer.id, ring_method=ring_method, addresses=addresses
        )
        return Address(type="agent", target=str(agent_id))

    # ringing

    def ring(self, *destinations: Address, method: str = "", master: Call | None = None, **more: Any) -> Ring:
        """A groupcall that rings."""
        plans = [
            self.ordering.plan(self.customer, SOURCE, one, f"destinations[{index}]", "auto")  # type: ignore[arg-type]
            for index, one in enumerate(destinations)
        ]
        ring = self.rings.make(
            self.customer.id,
            plans,
            groupcall_id=uuid4(),
            source=SOURCE,
            destinations=destinations,
            ring_method=RingMethod(method),
            prepare=lambda: SimpleNamespace(id=uuid4(), flow_id=ZERO),  # type: ignore[arg-type,return-value]
            master=master,
            **more,
        )
        self.rings.begin(ring)
        return ring

    def legs(self) -> list[Call]:
        """Calls that have not ended."""
        return self.board.calls()

    def answer(self, call: Call) -> None:
        self.dial_event(call, "ANSWER")
        self.stasis_start(call)

    def dropped(self, call: Call) -> list[int]:
        """Causes with which we asked for the end of a channel."""
        return [
            (query or {}).get("reason_code", 0)
            for method, uri, query, _ in self.client.sent
            if method == "DELETE" and uri == f"channels/{call.channel_id}"
        ]
