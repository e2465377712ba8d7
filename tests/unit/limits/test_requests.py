"""How many requests somebody may send."""

from __future__ import annotations

import time
from uuid import UUID, uuid4

from ringline.http import Principal
from ringline.limits.requests import Bucket, Rate, Requests

ME = uuid4()


class World:
    def __init__(self, customer: Rate, credential: Rate) -> None:
        self.now = 100.0
        self.customer, self.credential = customer, credential
        self.requests = Requests(lambda _: self.customer, lambda _: self.credential, now=lambda: self.now)

    def send(self, key: UUID, count: int = 1) -> int:
        """How many of so many requests are taken."""
        asks = Principal(ME, None, key, 0)
        return sum(self.requests.take(asks)[1] == 0 for _ in range(count))


def test_a_burst_then_a_rate() -> None:
    world, key = World(Rate(10, 20), Rate(0, 0)), uuid4()
    assert world.send(key, 50) == 20
    world.now += 1.0
    assert world.send(key, 50) == 10
    world.now += 100.0
    assert world.send(key, 50) == 20


def test_a_credential_is_limited_by_itself_and_with_the_others_of_its_customer() -> None:
    world, one, two = World(Rate(10, 30), Rate(10, 20)), uuid4(), uuid4()
    assert world.send(one, 50) == 20
    allowance, wait, whose = world.requests.take(Principal(ME, None, one, 0))
    assert allowance is not None
    assert 0 < wait <= 0.1
    assert whose == "this credential"
    assert world.send(two, 50) == 10
    assert world.requests.take(Principal(ME, None, two, 0))[2] == "your customer"
    # what the customer's bucket refused the credential's has back
    world.now += 1.0
    assert world.send(two, 50) == 10
    other = Principal(uuid4(), None, uuid4(), 0)
    assert world.requests.take(other)[1] == 0


def test_nothing_is_limited_where_nothing_is_set() -> None:
    world = World(Rate(0, 0), Rate(0, 0))
    assert world.requests.take(Principal(ME, None, None, 0)) == (None, 0.0, "")
    assert world.send(uuid4(), 1000) == 1000


def test_answers_say_what_is_left() -> None:
    world, key = World(Rate(10, 20), Rate(100, 200)), uuid4()
    world.send(key, 5)
    allowance, _, _ = world.requests.take(Principal(ME, None, key, 0))
    assert allowance is not None
    said = dict(allowance.headers())
    assert said["X-RateLimit-Limit"] == "20"
    assert said["X-RateLimit-Remaining"] == "14"
    assert 0 <= int(said["X-RateLimit-Reset"]) - time.time() <= 2
    assert said["RateLimit-Policy"] == '"customer";q=20;w=2'
    assert said["RateLimit"] == '"customer";r=14;t=1'


def test_what_is_set_comes_into_force() -> None:
    world, key = World(Rate(10, 20), Rate(10, 20)), uuid4()
    world.send(key, 20)
    world.customer = world.credential = Rate(100, 100)
    world.requests.changed()
    assert world.send(key, 500) == 100
    world.requests.changed()
    assert world.send(key) == 0, "the bucket was filled although nothing was set"


def test_what_others_gave_is_owed_and_the_rate_is_kept_over_time() -> None:
    """Two processes that hear of each other ten times a second, each asked for more than both may give."""
    now, given = 100.0, 0
    buckets = [Bucket("customer", Rate(100, 200), lambda: now) for _ in range(2)]
    for _ in range(200):
        for bucket in buckets:
            for _ in range(100):
                given += bucket.take(now) == 0
        told = [bucket.taken for bucket in buckets]
        for bucket, mine, theirs in zip(buckets, told, reversed(told), strict=True):
            bucket.taken = 0
            bucket.used_elsewhere(theirs, mine, now)
        now += 0.1
    seconds = 20.0
    assert 100 * seconds * 0.95 <= given <= 100 * seconds + 2 * 200 + 100 * 0.1


def test_judging_costs_little() -> None:
    world, key = World(Rate(1_000_000, 1_000_000), Rate(1_000_000, 1_000_000)), uuid4()
    asks = Principal(ME, None, key, 0)
    world.requests.take(asks)
    each = 1.0
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(4_000):
            allowance, _, _ = world.requests.take(asks)
            assert allowance is not None
            allowance.headers()
        each = min(each, (time.perf_counter() - began) / 4_000)
    assert each < 100e-6, f"{each * 1e6:.1f} us"
