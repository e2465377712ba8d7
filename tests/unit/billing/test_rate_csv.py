"""Files of rates: what is taken, and what is said of a line that is wrong."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ringline.billing import rate_csv
from ringline.billing.rate_csv import Fault, Line

HEAD = "kind,prefix,price\r\n"


def lines(text: str) -> list[Line]:
    found = list(rate_csv.read(text))
    assert all(isinstance(one, Line) for one in found), found
    return [one for one in found if isinstance(one, Line)]


def test_what_a_line_leaves_out_is_usual() -> None:
    (call, text) = lines(f"{HEAD}call_pstn_outgoing,+44,0.0095\r\n\r\nsms,,0.008\r\n")
    assert (call.rate.prefix, call.rate.credit_per_unit, call.rate.unit_seconds) == ("44", 9_500, 60)
    assert (call.rate.minimum_units, call.rate.rounding, call.begins, call.line) == (1, "up", None, 2)
    assert (text.rate.prefix, text.rate.credit_per_unit, text.rate.unit_seconds) == ("", 8_000, 0)


def test_every_column() -> None:
    head = ",".join(rate_csv.COLUMNS)
    (one,) = lines(
        f'\ufeff{head}\ncall_vn,899,"Virtual, ""all""",1000,1,30,2,nearest,2027-01-01T00:00:00Z,2028-01-01\n'
    )
    assert (one.name, one.rate.token_per_unit, one.rate.unit_seconds) == ('Virtual, "all"', 1, 30)
    assert (one.rate.minimum_units, one.rate.rounding) == (2, "nearest")
    assert (one.begins, one.rate.tm_end) == (
        datetime(2027, 1, 1, tzinfo=UTC),
        datetime(2028, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("call,44,0.1", "kind"),
        ("sms,44a,0.1", "prefix"),
        ("sms,٤٤,0.1", "prefix"),
        (f"sms,{'4' * 19},0.1", "prefix"),
        ("sms,44,0.0000001", "price"),
        ("sms,44,-1", "price"),
        ("sms,44,NaN", "price"),
        ("sms,44,1e400", "price"),
        ("sms,44,", "price"),
        ("sms,44,20000", "price"),
        ("sms,44", ""),
        ("sms,0044,1", "prefix"),
        ("sms,44,1,2", ""),
        ('sms,"44,1', ""),
        (f"sms,44,{'1' * 5000}", ""),
    ],
)
def test_a_wrong_line_is_named(line: str, field: str) -> None:
    found = list(rate_csv.read(f"{HEAD}sms,1,0.1\n{line}\n"))
    assert isinstance(found[0], Line)
    (fault,) = [one for one in found[1:] if isinstance(one, Fault)]
    assert (fault.line >= 3, fault.field) == (True, field)
    assert "line 3" in str(fault) or field == ""


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", ""),
        ("kind,prefix\nsms,1\n", "price"),
        ("kind,prefix,price,credit_per_unit\n", "price"),
        ("kind,price\n", "prefix"),
        ("kind,prefix,price,colour\n", "colour"),
        ("kind,kind,prefix,price\n", "kind"),
    ],
)
def test_a_wrong_head_ends_it(text: str, field: str) -> None:
    (fault,) = rate_csv.read(text)
    assert isinstance(fault, Fault) and (fault.line, fault.field) == (1, field)


def test_a_file_has_an_end_and_breaks_of_all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_csv, "MOST_LINES", 3)
    text = '\ufeffkind,prefix,price,name\rsms,1,1,"a\nb"\n\r\nsms,2,1,\r\nsms,3,1,c'
    assert [(one.rate.prefix, one.name, one.line) for one in lines(text)] == [
        ("1", "a\nb", 3),
        ("2", "", 5),
        ("3", "c", 6),
    ]
    *_, last = rate_csv.read(f"{text}\nsms,4,1,\nsms,5,1,\n")
    assert isinstance(last, Fault) and (last.line, "more than 3" in last.message) == (7, True)


def test_the_same_prefix_twice_is_named() -> None:
    found = list(rate_csv.read(f"{HEAD}sms,44,1\nsms,+44,2\nemail,44,1\n"))
    assert isinstance(found[1], Fault) and "line 2" in found[1].message
    assert isinstance(found[2], Line)
