"""Wrong passwords: pauses that grow, and nobody locked out from elsewhere."""

from __future__ import annotations

from ringline.customers import attempts
from ringline.customers.attempts import OF_ADDRESS, OF_NAME_AND_ADDRESS, OF_NAME_FREE, PasswordAttempts


class Watch:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


async def test_pauses_grow_and_end() -> None:
    watch = Watch()
    counts = PasswordAttempts(now=watch)
    for _ in range(OF_NAME_AND_ADDRESS.free):
        assert not (await counts.begin("ada", "192.0.2.1")).wait
    pauses = []
    for _ in range(12):
        wait = (await counts.begin("ada", "192.0.2.1")).wait
        pauses.append(round(wait))
        assert (await counts.begin("ada", "192.0.2.1")).wait == wait, "waiting cost something"
        watch.time += wait
        assert not (await counts.begin("ada", "192.0.2.1")).wait
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]
    watch.time += OF_NAME_AND_ADDRESS.keep + 1
    for _ in range(OF_NAME_AND_ADDRESS.free):
        assert not (await counts.begin("ada", "192.0.2.1")).wait


async def test_a_pause_begins_when_it_is_known_that_a_password_was_wrong() -> None:
    watch = Watch()
    counts = PasswordAttempts(now=watch)
    for _ in range(OF_NAME_AND_ADDRESS.free):
        await counts.begin("ada", "192.0.2.1")
    watch.time += 60.0
    await counts.wrong("ada", "192.0.2.1")
    assert (await counts.begin("ada", "192.0.2.1")).wait == attempts.FIRST_PAUSE


async def test_the_right_password_ends_the_counting() -> None:
    counts = PasswordAttempts(now=Watch())
    for _ in range(100):
        assert (await counts.begin("ada", "192.0.2.1")) == attempts.Verdict()
        await counts.right("ada", "192.0.2.1")


async def test_an_attempt_that_could_not_be_looked_at_does_not_count() -> None:
    counts = PasswordAttempts(now=Watch())
    for _ in range(100):
        assert (await counts.begin("ada", "192.0.2.1")) == attempts.Verdict()
        await counts.undone("ada", "192.0.2.1")


async def test_a_stranger_elsewhere_locks_nobody_out() -> None:
    watch = Watch()
    counts = PasswordAttempts(now=watch)
    await counts.begin("ada", "192.0.2.1")
    await counts.right("ada", "192.0.2.1")
    for number in range(400):
        await counts.begin("ada", f"198.51.100.{number % 250}")
    assert (await counts.begin("ada", "192.0.2.1")) == attempts.Verdict()
    # from where it never was right it is slowed, and looked at all the same
    slowed = await counts.begin("ada", "203.0.113.9")
    assert slowed.wait == 0
    assert 0 < slowed.slow <= attempts.SLOWEST
    # another name is not
    assert (await counts.begin("bob", "203.0.113.9")) == attempts.Verdict()


async def test_a_name_is_slowed_little_by_little() -> None:
    counts = PasswordAttempts(now=Watch())
    found = [(await counts.begin("ada", f"198.51.100.{n}")).slow for n in range(OF_NAME_FREE + 50)]
    assert found[:OF_NAME_FREE] == [0.0] * OF_NAME_FREE
    assert found[OF_NAME_FREE:] == sorted(found[OF_NAME_FREE:])
    assert found[-1] == attempts.SLOWEST


async def test_an_address_that_tries_many_names_pauses() -> None:
    counts = PasswordAttempts(now=Watch())
    for number in range(OF_ADDRESS.free):
        assert not (await counts.begin(f"name-{number}", "192.0.2.1")).wait
    assert (await counts.begin("another", "192.0.2.1")).wait
    assert not (await counts.begin("another", "192.0.2.2")).wait


async def test_addresses_of_one_ipv6_network_are_one() -> None:
    counts = PasswordAttempts(now=Watch())
    for number in range(OF_NAME_AND_ADDRESS.free):
        await counts.begin("ada", f"2001:db8::{number:x}")
    assert (await counts.begin("ada", "2001:db8::ffff")).wait
    assert not (await counts.begin("ada", "2001:db8:0:1::1")).wait


async def test_memory_is_bounded() -> None:
    counts = PasswordAttempts(now=Watch())
    for number in range(5000):
        await counts.begin(f"name-{number}", f"10.0.{number // 250}.{number % 250}")
    assert len(counts._alone._wrong) <= 10_000
