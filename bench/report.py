"""``bench/report.md``: the table, the verdict, and what the machine did meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

from bench import percentiles
from bench.asking import CONNECTIONS, PLACE_CONNECTIONS
from bench.background import MAX_OTHERS, MAX_STOLEN, Load
from bench.caller import ALLOWED_FAILURES, SLOW_SECONDS
from bench.delivering import BAD, ENDPOINTS
from bench.percentiles import Percentiles
from bench.results import Goal, Results, Way

CHART = "report.svg"


def render(results: Results) -> str:
    """The report as Markdown."""
    parts = [
        "# What Ringline costs beside a plain dialplan",
        "",
        f"Written by `make bench` on {results.began:%Y-%m-%d %H:%M} UTC: {results.plan} run, "
        f"{results.cores} cores ({results.processor}), {results.seconds:.0f} s."
        " How it is measured: `bench/README.md`.",
        "",
        *_verdict(results),
    ]
    if results.ways:
        parts += [
            f"![rates, set-up times and CPU]({CHART})",
            "",
            *_ways(results),
            *_kinds(results),
            *_phones(results),
            *_others(results),
            *_asked(results),
        ]
        parts += _probes(results)
    parts += _load(results)
    return "\n".join(parts).rstrip() + "\n"


def _verdict(results: Results) -> list[str]:
    if results.busy and not results.forced:
        return [
            f"**Not judged:** {results.busy}. `make bench ARGS=--force` measures and judges all the same.",
            "",
        ]
    lines = []
    if results.busy:
        lines += [f"**The machine was busy:** {results.busy}. Only ratios within this run mean anything.", ""]
    if results.plan != "full":
        lines += ["A quick run shows that the bench works; its figures are too short to rely on.", ""]
    lines += _table(
        ("goal", "limit", "measured", "verdict"),
        [(goal.text, goal.limit, goal.measured, _word(goal)) for goal in results.goals()],
    )
    return [*lines, ""]


def _word(goal: Goal) -> str:
    if goal.met is None:
        return "not measured"
    return "pass" if goal.met else "**miss**"


def _ways(results: Results) -> list[str]:
    rate = results.steady_rate
    rows = [_way_row(way, results) for way in results.ways.values()]
    return [
        "## The same call, three ways",
        "",
        "INVITE, answer, half a second of prompt, hang up. Callers send straight to Asterisk; in the last row they"
        " send to Kamailio as a provider does. Ringline writes its records to PostgreSQL and Redis as always.",
        "",
        *_table(
            (
                "what handles the call",
                "highest rate, calls/s",
                "against dialplan",
                f"set-up at {rate}/s p50 / p95 / p99, ms",
                "controller CPU s / 1000",
                "Asterisk",
                "Kamailio",
                "PostgreSQL + Redis",
            ),
            rows,
        ),
        "",
        f"CPU is for 1000 calls at {rate} a second, in brackets at the highest rate. A call counts as failed when it"
        f" is refused, lost, not answered within {SLOW_SECONDS:.0f} s or not ended in time; the highest rate is the"
        f" last one tried at which at most {ALLOWED_FAILURES:.1%} failed.",
        "",
    ]


def _way_row(way: Way, results: Results) -> tuple[str, ...]:
    ratio = results.ratio(way.key)
    none = way.key == "plain"
    return (
        way.label,
        _rate(way),
        "-" if ratio is None else f"{ratio:.2f}",
        _times(way.setup()),
        "-" if none else _cpu(way, "controller"),
        _cpu(way, "asterisk"),
        _cpu(way, "kamailio") if way.key == "edge" else "-",
        "-" if none else _cpu(way, "postgres", "redis"),
    )


def _rate(way: Way) -> str:
    if not way.best_rate:
        return "none found"
    return str(way.best_rate) if way.settled else f"{way.best_rate} or more"


def _cpu(way: Way, *services: str) -> str:
    steady = sum(way.per_1000(service) for service in services)
    best = [value for service in services if (value := way.at_best(service)) is not None]
    return f"{steady:.2f} ({sum(best):.2f})" if best else f"{steady:.2f}"


def _times(found: Percentiles | None) -> str:
    return "-" if found is None else f"{found.p50:.1f} / {found.p95:.1f} / {found.p99:.1f}"


def _kinds(results: Results) -> list[str]:
    """Calls of other kinds."""
    if not results.others:
        return []
    rows = [
        (
            way.label,
            str(way.steady[0].outcome.rate) if way.steady else "-",
            _times(way.setup()),
            "-" if way.key == "dial" else _cpu(way, "controller"),
            _cpu(way, "asterisk"),
            _rate(way) if way.probes else "not searched",
        )
        for way in results.others.values()
    ]
    dial, connect = results.others.get("dial"), results.others.get("connect")
    share = ""
    if dial is not None and connect is not None and dial.best_rate and connect.best_rate:
        share = f" Ringline bridges {connect.best_rate / dial.best_rate:.2f} of what the dialplan does."
    return [
        "## Calls of other kinds",
        "",
        "A menu: a prompt, a digit that the caller presses (SIP INFO) while it plays, a branch, a second prompt,"
        " hang-up: six actions, the snapshot stored at each. Two parties: the caller rings in, the called party"
        " answers at once, they talk for half a second, the caller hangs up." + share,
        "",
        *_table(
            (
                "what handles the call",
                "calls/s",
                "set-up p50 / p95 / p99, ms",
                "controller CPU s / 1000",
                "Asterisk CPU s / 1000",
                "highest rate, calls/s",
            ),
            rows,
        ),
        "",
    ]


def _phones(results: Results) -> list[str]:
    """Phones, and what Kamailio adds."""
    if not results.phones:
        return []
    rows = [
        (
            way.label,
            str(way.steady[0].outcome.rate) if way.steady else "-",
            f"{sum(probe.outcome.failed for probe in way.steady)}",
            _times(way.setup()),
            _cpu(way, "controller"),
            _cpu(way, "asterisk"),
            _cpu(way, "kamailio"),
        )
        for way in results.phones.values()
    ]
    lines = [
        "## Phones, and what Kamailio adds",
        "",
        "A phone's first INVITE is challenged (407) and comes again with credentials (digest, secrets in PostgreSQL);"
        " set-up counts from the first. Then the number's flow answers and plays the prompt, or the call goes through"
        " Kamailio once more to a carrier that answers at once. Kamailio copies each message of a call to the"
        " controller (traces).",
        "",
        *_table(
            (
                "what handles the call",
                "calls/s",
                "failed",
                "set-up p50 / p95 / p99, ms",
                "controller CPU s / 1000",
                "Asterisk CPU s / 1000",
                "Kamailio CPU s / 1000",
            ),
            rows,
        ),
        "",
    ]
    if (adds := results.edge_adds()) is not None:
        late, cpu = adds
        lines += [
            f"The prompt call that comes from a provider through Kamailio is answered {late:+.1f} ms later than the"
            f" one that goes straight to Asterisk (medians), and costs {cpu:.2f} ms of Kamailio's CPU.",
            "",
        ]
    return lines


def _others(results: Results) -> list[str]:
    lines = ["## Calls placed, calls held, records", ""]
    if (placed := results.placed) is not None:
        wire, answer = percentiles.of(placed.to_invite_ms), percentiles.of(placed.answer_ms)
        lines += [
            f"- `POST /v1.0/calls` at {placed.rate} a second, {placed.requested} calls: the INVITE reached the far"
            f" side after p50 / p95 / p99 {_times(wire)} ms"
            + (f" (slowest {wire.maximum:.1f} ms)" if wire else "")
            + f"; the API answered after {_times(answer)} ms. Refused {placed.refused}, lost {placed.lost}.",
        ]
    if (held := results.held) is not None:
        lines += [
            f"- {held.calls} calls held at once: the controller's memory went from {held.before_kb / 1024:.1f} to"
            f" {held.during_kb / 1024:.1f} MB, {held.per_call_kb:.1f} KB for each, and to"
            f" {held.after_kb / 1024:.1f} MB when they had ended.",
        ]
    lines += [
        f"- {results.ringline_calls} calls succeeded through Ringline in this run; PostgreSQL holds"
        f" {results.records} records of calls that ended normally.",
        "",
    ]
    return lines


def _asked(results: Results) -> list[str]:
    """Requests to the API."""
    if not results.asked:
        return []
    bare = results.asked[0].per_second
    rows = [
        (
            one.label,
            f"{one.per_second:.0f}",
            f"{one.per_second / bare:.2f}" if bare else "-",
            f"{one.p50_ms:.1f} / {one.p99_ms:.1f}",
            f"{one.cpu_ms:.2f}",
            str(one.refused),
        )
        for one in results.asked
    ]
    lines = [
        "## Requests to the API",
        "",
        f"wrk with {CONNECTIONS} connections on the same cores ({PLACE_CONNECTIONS} for `POST /v1.0/calls`, each of"
        " which places a call that is answered and hung up).",
        "",
        *_table(
            ("request", "per second", "of the bare handler's", "p50 / p99, ms", "server CPU, ms", "refused"),
            rows,
        ),
        "",
    ]
    if (delivered := results.delivered) is not None:
        lines += [
            *_table(
                (
                    "webhooks, one worker",
                    "deliveries per second",
                    "worker CPU, ms each",
                    f"p50 / p99 at {delivered.rate} events/s, ms",
                    "lost / twice",
                ),
                [
                    (
                        f"to {ENDPOINTS - BAD} good endpoints beside {BAD} bad ones",
                        f"{delivered.per_second:.0f}",
                        f"{delivered.cpu_ms:.2f}",
                        f"{delivered.p50 * 1000:.0f} / {delivered.p99 * 1000:.0f}",
                        f"{delivered.lost} / {delivered.twice}",
                    )
                ],
            ),
            "",
        ]
    if (stored := results.stored) is not None:
        lines += [
            f"With {stored.calls} more calls stored the controller has {stored.after_kb / 1024:.1f} MB"
            f" ({stored.before_kb / 1024:.1f} MB before), {stored.fresh_kb / 1024:.1f} MB after a new start, which"
            f" takes {stored.ready_seconds:.1f} s with its container; a page of a hundred calls takes"
            f" {stored.page_ms:.1f} ms.",
            "",
        ]
    return lines


def _probes(results: Results) -> list[str]:
    rows = []
    for way in (*results.ways.values(), *results.others.values()):
        if not way.probes:
            continue
        tried = ", ".join(
            f"{probe.outcome.rate}: {probe.outcome.failure_share:.2%}"
            + (" (caller lagged)" if probe.outcome.lagged else "")
            for probe in way.probes
        )
        rows.append((way.label, tried or "-"))
    return ["## Rates tried", "", *_table(("what handles the call", "calls/s: share that failed"), rows), ""]


def _load(results: Results) -> list[str]:
    rows = [("before", *_load_row(results.quiet))]
    if results.during is not None:
        rows.append(("while measuring", *_load_row(results.during)))
    return [
        "## Background load",
        "",
        *_table(("when", "other programs", "hypervisor", "interrupts", "load average 1 / 5 / 15 min"), rows),
        "",
        f"Shares of all cores together. The bench does not judge when others take more than {MAX_OTHERS:.0%} or the"
        f" hypervisor more than {MAX_STOLEN:.0%}. Load averages count the bench's own work.",
        "",
    ]


def _load_row(load: Load) -> tuple[str, ...]:
    return (
        f"{load.others:.1%}",
        f"{load.stolen:.1%}",
        f"{load.interrupts:.1%}",
        " / ".join(f"{value:.2f}" for value in load.averages),
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
