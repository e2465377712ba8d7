"""The run: what is measured, in which order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from bench import asking, background, usage
from bench.api import (
    CALLER_ADDRESS,
    CONNECT,
    EXTENSION,
    FAR_ADDRESS,
    FAR_PARTY,
    FAR_PORT,
    HELD_NUMBER,
    MENU,
    MENU_SECONDS,
    OWN_NUMBER,
    PHONE_ADDRESS,
    PROMPT_NUMBER,
    Api,
    prompt_actions,
)
from bench.caller import Target, call
from bench.delivering import NotDelivered, deliver
from bench.far_side import FarSide
from bench.holding import held_ms, hold
from bench.instance import PROMPT_ADDRESS, Instance, alone
from bench.placing import place
from bench.plan import Plan
from bench.prompt import PromptServer
from bench.results import SERVICES, Cpu, Probe, Results, Way
from bench.search import Search
from bench.stored import store

Say = Callable[[str], None]

LABELS = {
    "plain": "plain dialplan",
    "ringline": "Ringline",
    "edge": "Ringline behind Kamailio",
    "menu": "menu: talk, digits_receive, branch, talk",
    "dial": "two parties, dialplan's Dial()",
    "connect": "two parties, Ringline's connect",
    "phone": "a phone dials a number of ours",
    "phone_out": "a phone dials out to a carrier",
}
DIALPLAN = ("plain", "dial")
WRITE_SECONDS = 0.4
"""Records are written shortly after a call: their cost belongs to the run before."""


class Bench:
    """One run of the bench on a machine."""

    def __init__(self, plan: Plan, say: Say, *, force: bool) -> None:
        self._plan = plan
        self._say = say
        self._force = force
        self._instance = Instance()
        self._targets: dict[str, Target] = {}
        self._loads: list[tuple[float, background.Load]] = []
        self._results: Results
        self._far: FarSide

    async def run(self) -> Results:
        """Measure. Where the machine is busy and ``force`` is not set, nothing is started at all."""
        async with alone():
            return await self._run()

    async def _run(self) -> Results:
        began = time.monotonic()
        quiet = await background.measure(self._plan.quiet_seconds, self._ours)
        self._results = Results(
            plan=self._plan.name,
            began=datetime.now(UTC),
            cores=usage.CORES,
            processor=processor(),
            quiet=quiet,
            busy=quiet.complaint(),
            forced=self._force,
            steady_rate=self._plan.steady_rate,
        )
        if self._results.busy and not self._force:
            return self._results
        self._say(f"{self._plan.name} run; other programs use {quiet.others:.0%} of the CPU")
        try:
            self._say("bringing up a stack of its own")
            await self._instance.up()
            await self._measure()
        finally:
            if self._instance.pids:
                self._instance.keep_logs()
            self._say("taking the stack down")
            await self._instance.down()
        self._results.during = background.combined(self._loads)
        if self._results.during is not None and not self._results.busy:
            self._results.busy = self._results.during.complaint()
        self._results.seconds = time.monotonic() - began
        return self._results

    async def _measure(self) -> None:
        prompts = PromptServer(PROMPT_ADDRESS)
        await prompts.start()
        api = Api(self._instance)
        # there all the time: Kamailio asks providers whether they live, and passes over one that does not say so
        self._far = FarSide(FAR_ADDRESS, FAR_PORT)
        self._far.start()
        try:
            await api.ready()
            provider = await api.provision(prompts.url, held_ms=held_ms(self._plan))
            self._aim(str(provider))
            await self._warm(api, prompts.url)
            await self._hold(api)
            await self._steady(api)
            await self._place(api, prompts.url)
            await self._search(api, self._results.ways)
            await self._others(api, str(provider))
            await self._phones(api, prompts.url)
            await self._count(api)
            await self._ask(api)
            await self._deliver()
            await self._store(api)
        finally:
            self._far.close()
            await api.close()
            await prompts.close()

    def _aim(self, provider: str) -> None:
        asterisk, kamailio = self._instance.port("ASTERISK_SIP"), self._instance.port("KAMAILIO")
        self._targets = {
            "plain": Target("plain", "bench", asterisk, provider=provider),
            "ringline": Target("ringline", PROMPT_NUMBER, asterisk, provider=provider),
            "edge": Target("edge", PROMPT_NUMBER, kamailio, local_address=CALLER_ADDRESS, provider=provider),
        }
        self._results.ways = {key: Way(key, LABELS[key]) for key in self._targets}

    async def _warm(self, api: Api, prompt_url: str) -> None:
        """Caches are filled, code is loaded, and the bench stops here when a kind of call does not work at all."""
        self._say("warming up")
        plan = self._plan
        for key, target in self._targets.items():
            outcome = await call(target, rate=plan.steady_rate, calls=plan.warm_calls)
            self._note_calls(key, outcome.calls - outcome.failed)
            if outcome.failed > plan.warm_calls * 0.05:
                raise WarmUpFailed(
                    f"{outcome.failed} of {outcome.calls} calls failed on the way: {LABELS[key]}"
                )
        placed = await place(api, self._far, prompt_url, rate=10, seconds=2.0)
        self._results.ringline_calls += placed.requested - placed.refused
        if placed.refused or placed.lost:
            raise WarmUpFailed(
                f"of {placed.requested} calls placed {placed.refused} were refused, {placed.lost} lost"
            )
        await api.drained()

    async def _hold(self, api: Api) -> None:
        plan = self._plan
        self._say(f"holding {plan.held_calls} calls")
        target = Target("held", HELD_NUMBER, self._instance.port("ASTERISK_SIP"))
        watch = background.Watch(self._ours)
        began = time.monotonic()
        self._results.held = await hold(api, target, self._instance.controller_pid(), plan)
        self._results.ringline_calls += plan.held_calls
        self._loads.append((time.monotonic() - began, watch.load()))

    async def _steady(self, api: Api) -> None:
        plan = self._plan
        for turn in range(plan.steady_rounds):
            for key, way in self._results.ways.items():
                self._say(f"{plan.steady_rate} calls/s, round {turn + 1}: {way.label}")
                probe = await self._probe(api, key, plan.steady_rate, plan.steady_seconds, exact=True)
                way.steady.append(probe)

    async def _place(self, api: Api, prompt_url: str) -> None:
        plan = self._plan
        self._say(f"placing {plan.place_rate} calls/s over the API")
        watch = background.Watch(self._ours)
        began = time.monotonic()
        placed = await place(
            api, self._far, prompt_url, rate=plan.place_rate, seconds=plan.place_seconds, first=1_000_000
        )
        self._results.placed = placed
        self._results.ringline_calls += placed.requested - placed.refused
        self._loads.append((time.monotonic() - began, watch.load()))
        await api.drained()

    async def _others(self, api: Api, provider: str) -> None:
        """Calls of other kinds: a menu, and two parties connected, beside the dialplan's ``Dial()``."""
        plan, asterisk = self._plan, self._instance.port("ASTERISK_SIP")
        await api.answer_with(HELD_NUMBER, MENU)
        await api.answer_with(PROMPT_NUMBER, CONNECT)
        await self._instance.asterisk("module load app_dial.so")
        domain = self._instance["RINGLINE_SIP_DOMAIN"]
        self._targets |= {
            "menu": Target("menu", HELD_NUMBER, asterisk, scenario="menu", lasts_seconds=MENU_SECONDS),
            "dial": Target("dial", f"dial-{domain}", asterisk, scenario="connect"),
            "connect": Target("connect", PROMPT_NUMBER, asterisk, provider=provider, scenario="connect"),
        }
        others = self._results.others = {key: Way(key, LABELS[key]) for key in ("menu", "dial", "connect")}
        for key, rate in (
            ("menu", plan.steady_rate),
            ("dial", plan.pair_rate),
            ("connect", plan.pair_rate),
        ):
            # the first calls render the prompts and load what was not used yet
            await call(self._targets[key], rate=10, calls=20)
            await api.drained()
            self._say(f"{rate} calls/s: {LABELS[key]}")
            others[key].steady.append(await self._probe(api, key, rate, plan.steady_seconds, exact=True))
        await self._search(api, {key: others[key] for key in ("dial", "connect")})

    async def _phones(self, api: Api, prompt_url: str) -> None:
        """The whole way from a phone: challenged by Kamailio, to Asterisk, to a flow, or on to a carrier."""
        plan, instance = self._plan, self._instance
        await api.own_number(OWN_NUMBER, prompt_actions(prompt_url))
        domain = instance["RINGLINE_SIP_DOMAIN"]
        account = (EXTENSION, f"test.{domain}", instance["RINGLINE_EXTENSION_PASSWORD"])
        kamailio = instance.port("KAMAILIO")

        def phone(key: str, number: str, scenario: str) -> Target:
            return Target(
                key,
                number,
                kamailio,
                local_address=PHONE_ADDRESS,
                scenario=scenario,
                credentials=account,
                domain=domain,
            )

        self._targets |= {
            "phone": phone("phone", OWN_NUMBER, "phone"),
            "phone_out": phone("phone_out", str(FAR_PARTY["target"]), "phone-hangs-up"),
        }
        phones = self._results.phones = {key: Way(key, LABELS[key]) for key in ("phone", "phone_out")}
        for key, rate in (("phone", plan.steady_rate), ("phone_out", plan.pair_rate)):
            warm = await call(self._targets[key], rate=10, calls=20)
            self._note_calls(key, warm.calls - warm.failed)
            await api.drained()
            self._say(f"{rate} calls/s: {LABELS[key]}")
            phones[key].steady.append(await self._probe(api, key, rate, plan.steady_seconds, exact=True))

    async def _ask(self, api: Api) -> None:
        """Requests a second: the common reads and ``POST /v1.0/calls``, beside a handler that does nothing."""
        seconds, base = self._plan.ask_seconds, self._instance["RINGLINE_API_URL"]
        call_id = (await api.ask("GET", "/v1.0/calls?page_size=1"))["result"][0]["id"]
        questions = [
            asking.Question("`GET /v1.0/customer`", f"{base}/v1.0/customer"),
            asking.Question("`GET /v1.0/numbers`", f"{base}/v1.0/numbers"),
            asking.Question("`GET /v1.0/calls/{id}`", f"{base}/v1.0/calls/{call_id}"),
            asking.Question("`GET /v1.0/calls?page_size=10`", f"{base}/v1.0/calls?page_size=10"),
            asking.Question("`POST /v1.0/calls`", f"{base}/v1.0/calls", place=True),
        ]
        watch, began = background.Watch(self._ours), time.monotonic()
        async with asking.bare() as (url, pid):
            self._say("requests/s: a bare aiohttp handler")
            bare = asking.Question("a bare aiohttp handler", url)
            self._results.asked.append(await asking.ask(bare, seconds=seconds, pid=pid))
        token, controller = self._instance["RINGLINE_ACCESSKEY"], self._instance.controller_pid()
        for question in questions:
            self._say(f"requests/s: {question.label}")
            # the first ones load what was not used yet
            await asking.ask(question, seconds=1, pid=controller, token=token, first=8)
            if question.place:
                await api.drained(30.0)
            self._results.asked.append(
                await asking.ask(question, seconds=seconds, pid=controller, token=token, first=9)
            )
        self._loads.append((time.monotonic() - began, watch.load()))
        await api.drained(60.0)

    async def _store(self, api: Api) -> None:
        self._say(f"storing {self._plan.stored_calls} calls")
        self._results.stored = await store(api, self._instance, self._plan.stored_calls)

    async def _deliver(self) -> None:
        plan = self._plan
        self._say("webhook deliveries/s")
        try:
            self._results.delivered = await deliver(
                self._instance["RINGLINE_DATABASE_URL"],
                events=plan.delivered_events,
                rate=plan.delivered_rate,
                rate_seconds=plan.delivered_seconds,
            )
        except NotDelivered as error:
            self._say(f"webhooks are not measured: {error}")

    async def _search(self, api: Api, ways: dict[str, Way]) -> None:
        """Turn by turn, so that a machine that grows slower does so for everybody."""
        plan = self._plan
        deadline = time.monotonic() + plan.search_seconds
        searches = {
            key: Search(start=self._guess(way), max_probes=plan.max_probes) for key, way in ways.items()
        }
        while time.monotonic() < deadline:
            rates = {
                key: rate for key, search in searches.items() if (rate := search.next_rate()) is not None
            }
            if not rates:
                break
            for key, rate in rates.items():
                probe = await self._probe(api, key, rate, plan.probe_seconds)
                outcome = probe.outcome
                searches[key].record(rate, works=outcome.works)
                way = ways[key]
                way.probes.append(probe)
                self._say(f"{rate} calls/s {way.label}: {outcome.failure_share:.2%} failed")
                await asyncio.sleep(0.5 if outcome.works else 2.0)
        for key, search in searches.items():
            way = ways[key]
            way.best_rate, way.settled = search.best, search.settled

    def _guess(self, way: Way) -> int:
        """What the CPU of the steady runs suggests."""
        calls = sum(probe.outcome.calls for probe in way.steady)
        seconds = sum(probe.cpu["machine"] for probe in way.steady)
        if not calls or not seconds:
            return self._plan.steady_rate
        return round(usage.CORES * calls / seconds * self._plan.start_share)

    async def _probe(self, api: Api, key: str, rate: int, seconds: float, *, exact: bool = False) -> Probe:
        watch = background.Watch(self._ours)
        before, began = self._cpu(), time.monotonic()
        outcome = await call(self._targets[key], rate=rate, calls=round(rate * seconds), exact=exact)
        await asyncio.sleep(WRITE_SECONDS)
        after = self._cpu()
        self._loads.append((time.monotonic() - began, watch.load()))
        self._note_calls(key, outcome.calls - outcome.failed)
        if key not in DIALPLAN:
            await api.drained()
        return Probe(outcome, {name: after[name] - before[name] for name in after})

    def _note_calls(self, key: str, calls: int) -> None:
        if key not in DIALPLAN:
            self._results.ringline_calls += calls

    async def _count(self, api: Api) -> None:
        """Every call that ended well has its record; the second leg of a connection is a call of its own."""
        await api.drained()
        self._results.records = await api.count(
            f"status = 'hangup' AND hangup_reason = 'normal' AND master_call_id = '{UUID(int=0)}'"
        )

    def _ours(self) -> list[int]:
        return [os.getpid(), *(self._instance.keepers or self._instance.pids.values())]

    def _cpu(self) -> Cpu:
        """CPU seconds so far: by service, of the callers, and ``machine`` for all of ours with interrupts."""
        processes = usage.Processes()
        cpu = {service: processes.cpu(self._instance.pids[service]) for service in SERVICES}
        cpu["caller"] = processes.cpu(os.getpid())
        cpu["machine"] = sum(cpu.values()) + usage.machine().interrupts
        return cpu


class WarmUpFailed(Exception):
    """Calls do not work: there is nothing to measure."""


def processor() -> str:
    """The processor's name."""
    with contextlib.suppress(OSError):
        for line in (usage.PROC / "cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
