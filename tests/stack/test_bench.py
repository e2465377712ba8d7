"""``make bench`` works: a quick run brings its own stack up, measures, and writes a report that makes sense.

Nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_NUMBER = r"(\d+(?:\.\d+)?)"


@pytest.mark.timeout(900)
async def test_a_quick_run_measures_everything(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", "--quick", "--force", "--output", str(tmp_path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(880):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            # the bench takes its stack down when it is interrupted
            process.send_signal(2)
            await process.wait()
    assert process.returncode == 0, output.decode()
    report = (tmp_path / "report.md").read_text()
    assert (tmp_path / "report.svg").read_bytes().startswith(b"<?xml")

    rows = {
        cells[0]: cells[1:]
        for line in report.splitlines()
        if line.startswith("| ")
        and len(cells := [cell.strip() for cell in line.strip("| ").split(" | ")]) == 8
    }
    assert set(rows) >= {"plain dialplan", "Ringline", "Ringline behind Kamailio"}
    for name in ("plain dialplan", "Ringline", "Ringline behind Kamailio"):
        rate, ratio, times = rows[name][:3]
        assert re.fullmatch(rf"{_NUMBER}( or more)?", rate), f"{name}: {rate}"
        assert 0 < float(ratio) < 1.5, f"{name}: {ratio}"
        p50, p95, p99 = (float(value) for value in times.split(" / "))
        assert 0 < p50 <= p95 <= p99, f"{name}: {times}"
        assert float(rows[name][4].split()[0]) > 0.5, f"{name}: Asterisk's CPU"
    assert float(rows["Ringline"][3].split()[0]) > 0.1
    assert float(rows["Ringline behind Kamailio"][5].split()[0]) > 0

    kinds = {
        cells[0]: cells[1:]
        for line in report.splitlines()
        if line.startswith("| ")
        and len(cells := [cell.strip() for cell in line.strip("| ").split(" | ")]) == 6
    }
    menu = kinds["menu: talk, digits_receive, branch, talk"]
    assert float(menu[2].split()[0]) > 0.1, "the controller's CPU for a menu"
    for name in ("two parties, dialplan's Dial()", "two parties, Ringline's connect"):
        p50, p95, p99 = (float(value) for value in kinds[name][1].split(" / "))
        assert 0 < p50 <= p95 <= p99, f"{name}: {kinds[name]}"
        assert re.fullmatch(rf"{_NUMBER}( or more)?", kinds[name][4]), f"{name}: {kinds[name]}"

    phones = {
        cells[0]: cells[1:]
        for line in report.splitlines()
        if line.startswith("| ")
        and len(cells := [cell.strip() for cell in line.strip("| ").split(" | ")]) == 7
    }
    for name in ("a phone dials a number of ours", "a phone dials out to a carrier"):
        rate, failed, times, *cpu = phones[name]
        p50, p95, p99 = (float(value) for value in times.split(" / "))
        assert 0 < p50 <= p95 <= p99, f"{name}: {times}"
        # a loaded machine may be late with some, not with most
        assert int(failed) < int(rate), f"{name}: {phones[name]}"
        assert all(float(value) > 0 for value in cpu), f"{name}: {phones[name]}"
    assert re.search(rf"answered [+-]{_NUMBER} ms later .* {_NUMBER} ms of Kamailio's CPU", report), report

    placed = re.search(rf"p50 / p95 / p99 {_NUMBER} / {_NUMBER} / {_NUMBER} ms.*Refused 0, lost 0", report)
    assert placed is not None, report
    held = re.search(rf"(\d+) calls held at once: .* MB, (-?{_NUMBER}) KB for each", report)
    assert held is not None, report
    assert int(held[1]) == 100
    assert float(held[2]) < 200
    records = re.search(
        r"(\d+) calls succeeded through Ringline in this run; PostgreSQL holds (\d+) records", report
    )
    assert records is not None, report
    # a call that SIPp gave up as too late may have ended well all the same
    assert 200 < int(records[1]) <= int(records[2])
    assert "| while measuring |" in report
    asked = {
        name: cells for name, cells in kinds.items() if cells[-1] == "0" and name.startswith(("a bare", "`"))
    }
    assert {"a bare aiohttp handler", "`GET /v1.0/numbers`", "`POST /v1.0/calls`"} <= set(asked), kinds
    assert all(float(cells[0]) > 1 for cells in asked.values()), asked
    assert re.search(rf"With 20000 more calls stored .* takes {_NUMBER} s with its container", report), report
