"""What a held call costs the controller in memory: many calls answered and asleep at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bench import usage
from bench.api import Api
from bench.caller import Target, call
from bench.plan import Plan

MARGIN_SECONDS = 4.0
ARRIVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Held:
    """``before_kb`` and ``during_kb``: the controller's proportional set size; ``after_kb`` when all have gone."""

    calls: int
    """How many really were held at once."""
    before_kb: int
    during_kb: int
    after_kb: int

    @property
    def per_call_kb(self) -> float:
        return (self.during_kb - self.before_kb) / self.calls if self.calls else float("inf")


def held_ms(plan: Plan) -> int:
    """How long the flow sleeps: the first call must still be there when the last has come and all is measured."""
    ramp = plan.held_calls / plan.held_rate
    return round((ramp * 1.5 + plan.held_settle_seconds + MARGIN_SECONDS) * 1000)


async def hold(api: Api, target: Target, controller: int, plan: Plan) -> Held:
    """Hold the plan's calls and weigh the controller before, during and after."""
    before = await _weigh(controller)
    hold_seconds = held_ms(plan) / 1000
    calls = asyncio.create_task(
        call(target, rate=plan.held_rate, calls=plan.held_calls, hold_seconds=hold_seconds)
    )
    try:
        await asyncio.sleep(plan.held_calls / plan.held_rate)
        held = await _arrived(api, plan.held_calls)
        await asyncio.sleep(plan.held_settle_seconds)
        during = await _weigh(controller)
        held = min(held, await _held(api))
        await calls
    finally:
        calls.cancel()
        await asyncio.gather(calls, return_exceptions=True)
    await api.drained()
    return Held(held, before, during, await _weigh(controller))


async def _held(api: Api) -> int:
    return await api.count("status = 'progressing'")


async def _arrived(api: Api, wanted: int) -> int:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ARRIVE_SECONDS
    while True:
        held = await _held(api)
        if held >= wanted or loop.time() > deadline:
            return held
        await asyncio.sleep(0.2)


async def _weigh(pid: int) -> int:
    """The smallest of a few samples: what comes and goes with the work of a moment is not held."""
    samples = []
    for _ in range(5):
        samples.append(usage.memory_kb(pid))
        await asyncio.sleep(0.2)
    return min(samples)
