"""What the sandbox sells, and its own count of a text's parts."""

from __future__ import annotations

import time

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringline.sandbox import numbers, parts
from ringline.sandbox.blocks import BLOCK_SIZE, BLOCKS, SINGLES, Block
from ringline.sandbox.orders import MAGIC

KINDS = {
    "local": {phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE},
    "toll_free": {phonenumbers.PhoneNumberType.TOLL_FREE},
    "mobile": {phonenumbers.PhoneNumberType.MOBILE},
}


def nothing(_: str) -> bool:
    return False


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.prefix)
def test_numbers_are_valid_ones_of_their_country_and_kind(block: Block) -> None:
    for rest in range(0, BLOCK_SIZE, 311):
        parsed = phonenumbers.parse(f"{block.prefix}{rest:04d}")
        assert phonenumbers.is_valid_number(parsed), rest
        assert phonenumbers.region_code_for_number(parsed) == block.country
        assert phonenumbers.number_type(parsed) in KINDS[block.kind]


def test_countries() -> None:
    kinds = {(block.country, block.kind) for block in BLOCKS}
    for country in ("US", "CA", "GB", "DE", "FR", "KR", "AU", "NL", "SE", "BR"):
        assert (country, "local") in kinds
    assert len({block.prefix for block in BLOCKS}) == len(BLOCKS)
    assert len(BLOCKS) * BLOCK_SIZE + len(SINGLES) == numbers.TOTAL


def test_the_numbers_of_the_seed_page_come_first() -> None:
    found = numbers.search(country="US", kind="local", limit=6, taken=nothing)
    assert [one.number for one in found] == [single.number for single in SINGLES if single.kind == "local"][
        :6
    ]
    (first,) = numbers.search(country="US", kind="toll_free", limit=1, taken=nothing)
    assert first.number == "+18005551234"


def test_an_answer_is_always_the_same_and_shows_several_places() -> None:
    first = numbers.search(country="GB", limit=20, taken=nothing)
    assert first == numbers.search(country="GB", limit=20, taken=nothing)
    assert len({one.city for one in first}) >= 3
    gone = {one.number for one in first}
    second = numbers.search(country="GB", limit=20, taken=gone.__contains__)
    assert not gone & {one.number for one in second}


def test_a_whole_block_can_be_sold() -> None:
    found = numbers.search(country="DE", region="berlin", limit=BLOCK_SIZE + 1, taken=nothing)
    assert len(found) == len({one.number for one in found}) == BLOCK_SIZE


@settings(deadline=None)
@given(st.text("0123456789*", max_size=13))
def test_patterns(contains: str) -> None:
    spent = []
    for _ in range(3):
        started = time.thread_time()
        found = numbers.search(country="US", contains=contains, limit=50, taken=nothing)
        spent.append(time.thread_time() - started)
    assert min(spent) < 0.1  # audio is paced in the same process
    assert len(found) == len({one.number for one in found})
    for one in found:
        digits = one.number[1:]
        assert any(
            all(want in ("*", digits[place + at]) for at, want in enumerate(contains))
            for place in range(len(digits) - len(contains) + 1)
        )
        assert numbers.find(one.number) == one


def test_find() -> None:
    found = numbers.find("+493023450904")
    assert found is not None
    assert (found.country, found.kind, found.city) == ("DE", "local", "Berlin")
    for wrong in ("", "+49302345090", "+4930234509041", "+49302345090a", "+493023450\u0661", "4930234509041"):
        assert numbers.find(wrong) is None


@pytest.mark.parametrize("ending", MAGIC)
def test_every_magic_ending_is_for_sale(ending: str) -> None:
    found = numbers.search(country="US", kind="local", contains=ending, limit=500, taken=nothing)
    assert any(one.number.endswith(ending) for one in found)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" + "a" * 152, 3),  # an escape sequence is not divided
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 67, 3),  # 33 in each part: no pair is divided
        ("`", 1),
        ("`" + "a" * 70, 2),
    ],
)
def test_parts(text: str, wanted: int) -> None:
    assert parts.count(text) == wanted
