"""Reading what the kernel and SIPp say, and what the report makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from bench import asking, background, caller, chart, cli, percentiles, report, usage
from bench.background import Load
from bench.caller import Outcome
from bench.delivering import Delivered
from bench.far_side import FarSide
from bench.holding import Held
from bench.placing import Placed
from bench.results import Probe, Results, Way
from bench.stored import Stored

QUIET = Load(others=0.02, stolen=0.0, interrupts=0.01, averages=(0.1, 0.2, 0.3))
BUSY = Load(others=0.4, stolen=0.0, interrupts=0.01, averages=(4.0, 3.0, 2.0))


def outcome(rate: int, *, failed: int = 0, slow: int = 0, lagged: bool = False) -> Outcome:
    return Outcome(rate, 1000, failed, slow, 10.0, 0, [1.0, 2.0, 3.0, 4.0], lagged)


def way(key: str, best: int, controller: float) -> Way:
    cpu = {"controller": controller, "asterisk": 4.0, "kamailio": 0.5, "postgres": 0.2, "redis": 0.1}
    return Way(key, key.title(), [Probe(outcome(50), cpu)], [Probe(outcome(best), cpu)], best, settled=True)


def results(load: Load = QUIET, *, forced: bool = False) -> Results:
    return Results(
        plan="full",
        began=datetime(2026, 11, 21, 23, 50, tzinfo=UTC),
        cores=2,
        processor="a processor",
        quiet=load,
        during=load,
        busy=load.complaint(),
        forced=forced,
        ways={
            "plain": way("plain", 500, 0.0),
            "ringline": way("ringline", 375, 1.2),
            "edge": way("edge", 340, 1.2),
        },
        steady_rate=50,
        placed=Placed(50, 100, 0, 0, [float(value) for value in range(1, 101)], [3.0]),
        held=Held(500, 90_000, 95_000, 92_000),
        ringline_calls=4321,
        records=4321,
        seconds=300.0,
    )


def test_percentiles_are_nearest_rank() -> None:
    found = percentiles.of([float(value) for value in range(1, 101)])
    assert found == percentiles.Percentiles(100, 50.0, 95.0, 99.0, 100.0)
    assert percentiles.of([]) is None


def test_stat_of_a_process_with_a_hostile_name() -> None:
    text = "42 (a) S 1 (b) R 7 42 42 0 -1 4194304 100 0 0 0 150 50 25 25 20 0 1 0 100 1000 10"
    parent, seconds = usage.parse_stat(text)
    assert parent == 7
    assert seconds == pytest.approx(250 * usage.TICK_SECONDS)


def test_the_machines_line() -> None:
    machine = usage.parse_machine("cpu  100 10 40 800 5 3 2 40 0 0")
    tick = usage.TICK_SECONDS
    assert machine.processes == pytest.approx(150 * tick)
    assert machine.interrupts == pytest.approx(5 * tick)
    assert machine.stolen == pytest.approx(40 * tick)
    assert machine.total == pytest.approx(1000 * tick)


def test_work_of_children_that_have_ended_is_counted() -> None:
    before = usage.Processes().cpu(os.getpid())
    subprocess.run([sys.executable, "-c", "sum(range(4_000_000))"], check=True)
    assert usage.Processes().cpu(os.getpid()) - before > 0.03


def test_memory_of_this_process() -> None:
    assert 5_000 < usage.memory_kb(os.getpid()) < 4_000_000


def test_rates_work_or_not() -> None:
    assert outcome(50, failed=1).works
    assert not outcome(50, failed=1, slow=1).works
    assert not outcome(50, lagged=True).works


def test_times_from_sipps_short_messages(tmp_path: Path) -> None:
    lines = [
        "2026-11-21\t22:09:33.247\t1795298973.247654\tS\t1-22@127.0.0.1\tCSeq:1 INVITE\tINVITE sip:x SIP/2.0",
        "2026-11-21\t22:09:33.247\t1795298973.247762\tR\t1-22@127.0.0.1\tCSeq:1 INVITE\tSIP/2.0 100 Trying",
        "2026-11-21\t22:09:33.249\t1795298973.249654\tR\t1-22@127.0.0.1\tCSeq:1 INVITE\tSIP/2.0 200 OK",
        "2026-11-21\t22:09:33.259\t1795298973.259654\tR\t1-22@127.0.0.1\tCSeq:1 INVITE\tSIP/2.0 200 OK",
        "2026-11-21\t22:09:33.269\t1795298973.269654\tS\t1-22@127.0.0.1\tCSeq:9 BYE\tSIP/2.0 200 OK",
    ]
    (tmp_path / "call_7_shortmessages.log").write_text("\n".join(lines))
    assert caller._exact_times(tmp_path) == [pytest.approx(2.0, abs=0.01)]


async def test_the_far_side_answers_and_knows_when_an_invite_came() -> None:
    far = FarSide("127.0.0.1", 0)
    invite = (
        "INVITE sip:+19990000001@127.0.0.1:9 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa\r\n"
        "Record-Route: <sip:127.0.0.1;lr>\r\nf: <sip:a@b>;tag=1\r\n"
        "To: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n"
    )
    answer = far._answer(invite, 5.0)
    far._answer(invite, 6.0)
    assert far.arrivals == {"+19990000001": 5.0}
    assert answer.startswith("SIP/2.0 200 OK\r\n")
    for line in ("Record-Route: <sip:127.0.0.1;lr>", "To: <sip:c@d>;tag=far", "CSeq: 1 INVITE"):
        assert line in answer.split("\r\n")
    body = answer.split("\r\n\r\n", 1)[1]
    assert f"Content-Length: {len(body)}\r\n" in answer
    assert far._answer(invite.replace("INVITE", "ACK"), 7.0) == ""
    assert far._answer(invite.replace("INVITE", "BYE"), 7.0).endswith("Content-Length: 0\r\n\r\n")
    assert far.hung_up == 1
    far._socket.close()
    far._media.close()


def test_goals_are_judged_by_their_limits() -> None:
    found = results()
    assert [goal.met for goal in found.goals()] == [True, True, False, True, None]
    found.ways["ringline"].best_rate = 340
    assert found.goals()[0].met is False
    found.ways["plain"].settled = False
    assert found.goals()[0].met is None
    found.placed = Placed(50, 100, 1, 0, [1.0], [1.0])
    assert found.goals()[2].met is False


def test_what_one_more_action_costs() -> None:
    found = results()
    prompt = found.ways["ringline"].per_1000("controller")
    probe = found.ways["ringline"].steady[0]
    dear = {**probe.cpu, "controller": (prompt + 0.9) * probe.outcome.calls / 1000}
    found.others["menu"] = Way("menu", "menu", steady=[Probe(probe.outcome, dear)])
    # three actions more for 0.9 ms more
    assert found.action_ms() == pytest.approx(0.3)
    assert "0.30 ms" in report.render(found)


def test_a_busy_machine_is_not_judged(tmp_path: Path) -> None:
    found = results(BUSY)
    found.ways = {}
    assert not found.judged
    cli.write(found, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "**Not judged:** other programs use 40%" in text
    assert "| goal |" not in text
    assert not (tmp_path / "report.svg").exists()


def test_a_busy_machine_is_judged_when_forced_and_the_report_says_so() -> None:
    text = report.render(results(BUSY, forced=True))
    assert "**The machine was busy:** other programs use 40%" in text
    assert "| goal |" in text


def test_report_and_chart(tmp_path: Path) -> None:
    cli.write(results(), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| Ringline | 375 | 0.75 | 2.0 / 4.0 / 4.0 | 1.20 (1.20) | 4.00 (4.00) | - | 0.30 (0.30) |" in text
    assert "4321 records" in text
    first = (tmp_path / report.CHART).read_bytes()
    assert first.startswith(b"<?xml")
    chart.draw(results(), tmp_path / report.CHART)
    assert (tmp_path / report.CHART).read_bytes() == first


def test_load_over_several_periods() -> None:
    combined = background.combined([(3.0, QUIET), (1.0, BUSY)])
    assert combined is not None
    assert combined.others == pytest.approx((3 * 0.02 + 0.4) / 4)
    assert background.combined([]) is None


WRK = """Running 2s test @ http://127.0.0.1:28180/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.42ms  511.29us  18.44ms   95.13%
    Req/Sec    11.43k     0.87k   12.22k    85.00%
  Latency Distribution
     50%    1.33ms
     75%    1.45ms
     90%    1.66ms
     99%    1.03s
  22750 requests in 2.00s, 4.01MB read
  Socket errors: connect 0, read 1, write 0, timeout 2
  Non-2xx or 3xx responses: 7
Requests/sec:  11368.64
Transfer/sec:      2.00MB
"""


def test_what_wrk_says_is_read() -> None:
    found = asking.parse("reads", WRK, 2.275)
    assert found == asking.Asked("reads", 22750, 11368.64, 1.33, 1030.0, 10, pytest.approx(0.1))
    with pytest.raises(asking.WrkFailed, match="unable to connect"):
        asking.parse("reads", "unable to connect to 127.0.0.1:1: Connection refused", 0.0)


def test_the_report_tells_of_requests_beside_the_bare_handler() -> None:
    found = results()
    found.asked = [
        asking.parse("a bare aiohttp handler", WRK, 2.275),
        asking.Asked("`GET /v1.0/numbers`", 4000, 1136.864, 3.5, 9.0, 0, 0.7),
    ]
    found.stored = Stored(1_000_000, 102_400, 104_448, 101_376, 3.25, 6.5)
    text = report.render(found)
    assert "| `GET /v1.0/numbers` | 1137 | 0.10 | 3.5 / 9.0 | 0.70 | 0 |" in text
    assert "With 1000000 more calls stored the controller has 102.0 MB (100.0 MB before)" in text


def test_the_report_tells_of_webhook_deliveries() -> None:
    found = results()
    found.asked = [asking.parse("a bare aiohttp handler", WRK, 2.275)]
    found.delivered = Delivered(
        per_second=2135.4, cpu_ms=0.378, rate=500, p50=0.0481, p99=0.1846, lost=0, twice=3
    )
    text = report.render(found)
    assert "p50 / p99 at 500 events/s, ms" in text
    assert "| to 7 good endpoints beside 3 bad ones | 2135 | 0.38 | 48 / 185 | 0 / 3 |" in text


async def test_the_bare_handler_answers() -> None:
    async with asking.bare() as (url, pid):
        assert usage.memory_kb(pid) > 0
        async with aiohttp.ClientSession() as session, session.post(url, json={"a": [1]}) as response:
            assert response.status == 200
            assert (await response.json())["result"][0]["name"] == ""
