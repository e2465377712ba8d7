"""Webhooks in the background: who waits for whom, what is tried again, what a stop leaves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from ringline.errors import ResourceExhausted
from ringline.webhooks import delivery, sender
from ringline.webhooks.delivery import Delivery
from ringline.webhooks.exchange import Answer, ExchangeFailed, Request
from ringline.webhooks.sender import Sender

ONE, OTHER = UUID(int=1), UUID(int=2)
Outcome = Answer | ExchangeFailed


class Servers:
    """Servers by host: ``silent`` ones never answer, the others as ``answer`` says (200)."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.answer: Callable[[Request], Outcome] = lambda _: Answer(200)
        self.seen: list[Request] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def run(
        self, request: Request, *, max_bytes: int, cut: bool = False, seconds: float = 10.0
    ) -> Answer:
        host = request.url.split("/")[2]
        self.seen.append(request)
        for name in (host, str(request.customer_id), "all"):
            self.running[name] += 1
            self.most[name] = max(self.most[name], self.running[name])
        try:
            if host in self.silent:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            outcome = self.answer(request)
        finally:
            for name in (host, str(request.customer_id), "all"):
                self.running[name] -= 1
        if isinstance(outcome, ExchangeFailed):
            raise outcome
        return outcome


class Failures:
    def __init__(self) -> None:
        self.noted: list[tuple[str, str]] = []

    def __call__(self, reason: str, message: str) -> None:
        self.noted.append((reason, message))


def webhook(
    host: str, failures: Failures | None = None, *, customer: UUID = ONE, method: str = "POST", size: int = 0
) -> Delivery:
    request = Request(customer, method, f"http://{host}/hook?secret=1", {}, b"x" * size or None)
    return Delivery(uuid4(), request, failures or Failures())


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not check():
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "DELAYS", (0.0, 0.0))


async def test_a_server_that_never_answers_holds_up_only_itself() -> None:
    servers, failures = Servers(), Failures()
    servers.silent.add("dead.example")
    queue = Sender(servers)
    for _ in range(500):
        queue.post(webhook("dead.example", failures))
    for _ in range(20):
        queue.post(webhook("good.example", failures))
        queue.post(webhook("good.example", failures, customer=OTHER))
    await until(lambda: queue.depth == 500)
    assert servers.most["dead.example"] == sender.MAX_RUNNING_PER_LANE
    assert failures.noted == []
    await queue.close(grace=0.01)
    assert not queue._tasks


async def test_many_silent_servers_of_one_customer_leave_room_for_others() -> None:
    servers = Servers()
    servers.silent |= {f"dead{number}.example" for number in range(50)}
    queue = Sender(servers)
    for host in sorted(servers.silent) * 4:
        queue.post(webhook(host))
    for _ in range(200):
        queue.post(webhook("good.example", customer=OTHER))
    await until(lambda: queue.depth == 200)
    assert servers.most[str(ONE)] == sender.MAX_RUNNING_PER_CUSTOMER
    await queue.close(grace=0.0)


async def test_no_more_than_so_many_at_once_and_every_one_is_sent_in_order() -> None:
    servers = Servers()
    queue = Sender(servers)
    customers = [UUID(int=number) for number in range(1, 21)]
    for customer in customers:
        for number in range(40):
            delivery_ = webhook(f"host{number % 2}.example", customer=customer)
            queue.post(delivery_)
    # a lane goes with the task of its last webhook, which ends a turn of the loop after that was counted out
    await until(lambda: queue.depth == 0 and not queue._lanes)
    assert len(servers.seen) == 800
    assert servers.most["all"] <= sender.MAX_RUNNING
    assert not queue._ready
    assert not queue._parked
    await queue.close()


async def test_what_waits_is_bounded_by_number_and_by_size() -> None:
    servers = Servers()
    servers.silent.add("dead.example")
    queue = Sender(servers)
    for _ in range(sender.MAX_WAITING_PER_CUSTOMER):
        queue.post(webhook("dead.example"))
    with pytest.raises(ResourceExhausted, match="2000 webhooks wait") as refused:
        queue.post(webhook("dead.example"))
    assert refused.value.reason == "WEBHOOK_QUEUE_FULL"
    big = sender.MAX_BYTES_PER_CUSTOMER // 4
    for _ in range(3):
        queue.post(webhook("dead.example", customer=OTHER, size=big))
    with pytest.raises(ResourceExhausted):
        queue.post(webhook("dead.example", customer=OTHER, size=big))
    queue.post(webhook("good.example", customer=UUID(int=3)))
    await queue.close(grace=0.0)


def refused_once(then: Outcome) -> Callable[[Request], Outcome]:
    outcomes: list[Outcome] = [ExchangeFailed("FAILED", "does not accept the connection", unsent=True), then]
    return lambda _: outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]


async def test_what_no_server_has_seen_is_tried_again_with_the_same_id_and_body() -> None:
    servers, failures = Servers(), Failures()
    servers.answer = refused_once(Answer(200))
    queue = Sender(servers)
    queue.post(webhook("a.example", failures, size=3))
    await until(lambda: queue.depth == 0)
    first, second = servers.seen
    assert first is second
    assert failures.noted == []
    await queue.close()


@pytest.mark.parametrize(
    ("method", "outcome", "attempts"),
    [
        ("POST", ExchangeFailed("FAILED", "no connection", unsent=True), 3),
        ("POST", ExchangeFailed("TIMEOUT", "no complete answer"), 1),
        ("POST", ExchangeFailed("FAILED", "broken answer"), 1),
        ("POST", Answer(503), 1),
        ("POST", Answer(404), 1),
        ("PUT", ExchangeFailed("TIMEOUT", "no complete answer"), 3),
        ("GET", Answer(503), 3),
        ("DELETE", Answer(429), 3),
        ("GET", Answer(404), 1),
        ("GET", Answer(500), 1),
        ("GET", ExchangeFailed("FORBIDDEN", "127.0.0.1 is not a public address", unsent=True), 1),
    ],
)
async def test_what_is_repeated_and_what_is_not(method: str, outcome: Outcome, attempts: int) -> None:
    servers, failures = Servers(), Failures()
    servers.answer = lambda _: outcome
    queue = Sender(servers)
    queue.post(webhook("a.example", failures, method=method))
    await until(lambda: queue.depth == 0)
    assert len(servers.seen) == attempts
    ((reason, message),) = failures.noted
    assert reason == ("WEBHOOK_STATUS" if isinstance(outcome, Answer) else f"WEBHOOK_{outcome.reason}")
    assert ("after 3 attempts" in message) is (attempts == 3)
    assert "secret" not in message
    await queue.close()


async def test_a_stop_gives_what_waits_a_moment_and_then_gives_it_up() -> None:
    servers, failures = Servers(), Failures()
    servers.silent.add("dead.example")
    queue = Sender(servers)
    queue.post(webhook("good.example", failures))
    await queue.close()
    assert len(servers.seen) == 1
    with pytest.raises(ResourceExhausted):
        queue.post(webhook("good.example"))
    queue = Sender(servers)
    for _ in range(20):
        queue.post(webhook("dead.example", failures))
    async with asyncio.timeout(30):
        await queue.close(grace=0.05)
    assert servers.running["all"] == 0
    assert failures.noted == []


async def test_nothing_is_tried_again_while_it_stops() -> None:
    servers, failures = Servers(), Failures()
    servers.answer = lambda _: ExchangeFailed("FAILED", "no connection", unsent=True)
    queue = Sender(servers)
    queue.post(webhook("a.example", failures))
    async with asyncio.timeout(30):
        await queue.close(grace=1)
    assert len(failures.noted) == 1
