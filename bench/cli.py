"""The command line of the bench."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import aiohttp
import structlog
import uvloop

from bench import chart, plan, report
from bench.api import ApiFailed
from bench.asking import WrkFailed
from bench.caller import SippFailed
from bench.instance import InstanceFailed
from bench.measure import Bench, WarmUpFailed
from bench.results import Results
from ringline.errors import RinglineError

BUSY = 3
FAILED = 1
HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Run the bench. 0: measured and judged; 1: it could not run; 3: the machine is too busy, not judged."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run that shows that the bench works")
    parser.add_argument("--force", action="store_true", help="measure and judge on a busy machine as well")
    parser.add_argument("--output", type=Path, default=HERE, help="folder for report.md and report.svg")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    # what the product's own modules say while the bench uses them is not the bench's output
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:4.0f}s  {text}", flush=True)

    try:
        bench = Bench(plan.QUICK if given.quick else plan.FULL, say, force=given.force)
        results = uvloop.run(bench.run())
    except (
        *(ApiFailed, InstanceFailed, SippFailed, WarmUpFailed, WrkFailed),
        *(RinglineError, aiohttp.ClientError, OSError, TimeoutError),
    ) as error:
        say(f"the bench could not run: {error or type(error).__name__}")
        return FAILED
    write(results, given.output)
    say(f"{given.output / 'report.md'} is written")
    if not results.judged:
        say(f"NOT JUDGED: {results.busy}")
        return BUSY
    for goal in results.goals():
        word = "not measured" if goal.met is None else "pass" if goal.met else "MISS"
        say(f"{word}: {goal.text}: {goal.measured} ({goal.limit})")
    return 0


def write(results: Results, folder: Path) -> None:
    """Write the report and, where there is something to draw, its chart."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(report.render(results))
    if results.ways:
        chart.draw(results, folder / report.CHART)
