"""Lines in calls.jsonl, and what becomes of old files."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ringline.sandbox.journal import Journal, Record
from ringline.sandbox.retention import prune
from ringline.sandbox.ua.message import Request


def invite(**headers: str) -> Request:
    request = Request(method="INVITE", uri="sip:%2B15550000001@127.0.0.1")
    request.add("from", '"Joe" <sip:+15551234567@example.test>;tag=1')
    request.add("call-id", "c1")
    for name, value in headers.items():
        request.add(name.replace("_", "-"), value)
    return request


def test_headers_as_received() -> None:
    record = Record.of(invite(privacy="id;critical", p_asserted_identity="<sip:+1@h>"))
    assert record.number == "+15550000001"
    assert (record.from_uri, record.from_display) == ("sip:+15551234567@example.test", "Joe")
    assert (record.privacy, record.p_asserted_identity) == ("id;critical", "<sip:+1@h>")
    assert Record.of(invite()).privacy == ""


@given(st.text(), st.text())
def test_a_record_is_one_line_for_every_reader(first: str, second: str) -> None:
    record = Record.of(invite())
    record.from_display, record.privacy = first, second
    (line,) = record.to_line().decode("ascii").splitlines()
    read = json.loads(line)
    assert read["from_display"] == first
    assert read["privacy"] == second


def test_a_full_file_makes_room(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.jsonl", max_bytes=1000)
    for _ in range(10):
        journal.append(Record.of(invite()))
    assert (tmp_path / "calls.jsonl").stat().st_size <= 1000
    assert (tmp_path / "calls.jsonl.1").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls.jsonl", "calls.jsonl.1"]


def test_a_removed_file_is_made_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.jsonl", max_bytes=10**6)
    journal.append(Record.of(invite()))
    journal.path.unlink()
    journal.append(Record.of(invite()))
    assert len(journal.path.read_text().splitlines()) == 1


def test_an_impossible_file_is_counted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "missing" / "calls.jsonl", max_bytes=10**6)
    journal.append(Record.of(invite()))
    assert (journal.lines, journal.failures) == (0, 1)


def test_old_recordings_go_then_the_oldest_until_it_fits(tmp_path: Path) -> None:
    now = 10_000_000.0
    for name, age in (("ancient", 800_000), ("old", 5000), ("newer", 4000), ("young", 10)):
        path = tmp_path / f"{name}.wav"
        path.write_bytes(bytes(1000))
        os.utime(path, (now - age, now - age))
    (tmp_path / "notes.txt").write_bytes(bytes(1000))
    assert prune(tmp_path, max_age=604_800, max_bytes=10**6, now=now) == 1
    assert prune(tmp_path, max_age=604_800, max_bytes=2500, now=now) == 1
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["newer", "notes", "young"]
    assert prune(tmp_path, max_age=1, max_bytes=1, now=now) == 1
    assert (tmp_path / "young.wav").exists()
