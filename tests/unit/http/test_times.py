"""The two styles of time, and the order of what happens together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ringline.http import (
    Cursor,
    Moment,
    NumberTimestamp,
    PageQuery,
    QueryModel,
    RequestModel,
    ResponseModel,
    Timestamp,
    utc_now,
)
from ringline.http.times import iso, iso_exact, number_style, parse

MOMENT = datetime(2021, 2, 4, 4, 44, 20, 123456, tzinfo=UTC)


class Shown(ResponseModel):
    iso: Timestamp
    number: NumberTimestamp


class Asked(QueryModel):
    at: Moment = None


class Said(RequestModel):
    at: Moment = None


@pytest.mark.parametrize("model", [Asked, Said])
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2021-02-04T04:44:20.123456Z", MOMENT),
        ("2021-02-04 04:44:20.123456", MOMENT),
        ("2021-02-04T06:44:20.123456+02:00", MOMENT),
        (MOMENT.astimezone(timezone(timedelta(hours=5))), MOMENT),
        (MOMENT.replace(tzinfo=None), MOMENT),
        ("", None),
        (None, None),
    ],
)
def test_a_moment_that_is_asked_for(
    model: type[Asked] | type[Said], text: object, moment: datetime | None
) -> None:
    found = model.model_validate({"at": text}).at
    assert found == moment and (found is None or found.tzinfo is UTC)


@pytest.mark.parametrize("model", [Asked, Said])
@pytest.mark.parametrize(
    "wrong",
    ["soon", "1700000000", 1_700_000_000, True, [], "9" * 65, "0001-01-01T00:00:00+14:00", "2021-02-30"],
)
def test_what_is_no_moment(model: type[Asked] | type[Said], wrong: object) -> None:
    with pytest.raises(ValidationError, match="ISO 8601"):
        model.model_validate({"at": wrong})


def test_the_styles_of_the_seed_pages() -> None:
    assert Shown(iso=MOMENT, number=MOMENT).model_dump_json() == (
        '{"iso":"2021-02-04T04:44:20Z","number":"2021-02-04 04:44:20.123456"}'
    )
    assert Shown(iso=None, number=None).model_dump_json() == (
        '{"iso":null,"number":"9999-01-01 00:00:00.000000"}'
    )
    assert Shown(iso=MOMENT, number=None).model_dump() == {"iso": MOMENT, "number": None}


@pytest.mark.parametrize(
    "text",
    [
        "2021-02-04T04:44:20.123456Z",
        "2021-02-04 04:44:20.123456",
        "2021-02-04T04:44:20.123456",
        " 2021-02-04T06:44:20.123456+02:00 ",
    ],
)
def test_either_style_is_read(text: str) -> None:
    assert parse(text) == MOMENT


@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)))
def test_what_is_written_is_read(moment: datetime) -> None:
    assert parse(iso_exact(moment)) == moment
    assert parse(number_style(moment)) == moment
    assert parse(iso(moment)) == moment.replace(microsecond=0)


def test_other_offsets_become_utc() -> None:
    moment = MOMENT.astimezone(timezone(timedelta(hours=9)))
    assert parse(moment.isoformat()).utcoffset() == timedelta(0)


def test_no_two_moments_of_a_process_are_the_same() -> None:
    moments = [utc_now() for _ in range(5000)]
    assert moments == sorted(set(moments))


def test_page_tokens() -> None:
    row_id = uuid4()
    read = PageQuery.model_validate
    assert read({"page_token": ""}).page_token is None
    assert read({"page_token": "2021-02-04T04:44:20.123456Z"}).page_token == Cursor(MOMENT)
    assert read({"page_token": f"2021-02-04 04:44:20.123456_{row_id}"}).page_token == Cursor(MOMENT, row_id)
    for nonsense in ("yesterday", "2021-02-04_x", "_", f"x_{row_id}", "9" * 100, "2021-02-04T25:00:00Z"):
        with pytest.raises(ValidationError, match="next_page_token"):
            read({"page_token": nonsense})
