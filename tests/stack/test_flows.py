"""Flows that decide, on real calls: the tutorial's menu with a key, with another one, and with none."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import numpy as np
import pytest

from tests.stack.audio import chirp, encode, find, read_wav
from tests.stack.files import Files
from tests.stack.product import HANGUP, Json, Product, number, play

SOUNDS = {
    "menu": chirp(400, 900, 2.5),
    "one": chirp(2800, 2200),
    "two": chirp(1000, 3000),
    "default": chirp(3200, 1200),
    "over": chirp(600, 300),
}
Heard = list[tuple[str, float, float]]


@pytest.fixture
def menu(files: Files) -> list[Json]:
    """The tutorial's branch example, with sounds that can be told apart instead of speech."""
    spoken = {name: play(files.add(f"{name}.wav", encode(sound, "wav"))) for name, sound in SOUNDS.items()}
    begin, one, two, default = (str(uuid4()) for _ in range(4))
    return [
        {"id": begin, **spoken["menu"]},
        {"type": "digits_receive", "option": {"duration": 1500, "length": 1}},
        {
            "type": "branch",
            "option": {"default_target_id": default, "target_ids": {"1": one, "2": two}},
        },
        {"id": one, **spoken["one"]},
        HANGUP,
        {"id": two, **spoken["two"]},
        HANGUP,
        {"id": default, **spoken["default"]},
        {"type": "goto", "option": {"target_id": begin, "loop_count": 1}},
        spoken["over"],
        HANGUP,
    ]


async def heard(product: Product, menu: list[Json], ending: str) -> Heard:
    """What a called party with this ending hears, in order, with the moments at which it begins and ends."""
    to = number(ending)
    record = await product.ended(await product.place(to, *menu), within=60)
    assert (record["hangup_reason"], record["hangup_by"], record["failures"]) == ("normal", "local", [])
    recording = read_wav(product.recording(await product.line(to)))
    found = []
    for name, sound in SOUNDS.items():
        rest = recording.copy()
        while (match := find(rest, sound)).peak > 0.9:
            found.append((name, match.start, match.end))
            rest[int(match.start * 8000) : int(match.end * 8000)] = np.zeros(1)
    return sorted(found, key=lambda item: item[1])


async def test_the_menu_with_one_key_another_and_none(product: Product, menu: list[Json]) -> None:
    first, second, none = await asyncio.gather(
        *(heard(product, menu, end) for end in ("0011", "0012", "1234"))
    )
    assert [name for name, *_ in first] == ["menu", "one"]
    assert [name for name, *_ in second] == ["menu", "two"]
    assert [name for name, *_ in none] == ["menu", "default", "menu", "default", "over"]
    # the key comes two seconds after the answer, while the menu still sounds: it counts, and nobody waits
    assert first[1][1] - first[0][2] < 1.4


async def test_a_variable_decides(product: Product, files: Files) -> None:
    other = str(uuid4())
    flow = [
        {
            "type": "condition_variable",
            "option": {
                "condition": "==",
                "variable": "tier",
                "value_string": "gold",
                "false_target_id": other,
            },
        },
        {"type": "digits_send", "option": {"digits": "1"}},
        {"type": "stop"},
        {"id": other, "type": "digits_send", "option": {"digits": "2"}},
    ]
    gold, none = number(), number()
    calls = [await product.place(gold, *flow, variables={"tier": "gold"}), await product.place(none, *flow)]
    await asyncio.gather(*(product.ended(call) for call in calls))
    assert [(await product.line(to))["dtmf"] for to in (gold, none)] == ["1", "2"]
