"""Hours and days as the panels take them: of streams whose days do not begin when the viewer's do."""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest

from vigie_dashboards import fill, running
from vigie_dashboards.ask import Value
from vigie_dashboards.fill import Span
from vigie_dashboards.sql import DAYS, HOURS
from vigie_dashboards.yesterday import DAY

TOKYO, KOLKATA, YORK = ZoneInfo("Asia/Tokyo"), ZoneInfo("Asia/Kolkata"), ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    """Streams in four zones, each with a payment in every hour of eight days, counted."""
    name = f"zones_{random.getrandbits(40):010x}"
    env = os.environ | {"VIGIE_DATABASE__SCHEMA": name}
    subprocess.run([running.TARGET / "debug/vigie", "migrate"], env=env, check=True, capture_output=True)
    with owner() as session:
        for stream, zone in enumerate(("UTC", "Asia/Tokyo", "Asia/Kolkata", "America/New_York")):
            session.execute(
                f"INSERT INTO {name}.streams VALUES (%s, '', '', '', 1, %s, '', %s, 2)", (stream, str(stream), zone)
            )
        session.execute(f"""
            WITH hours AS (
                SELECT s.stream, h AS hour, (h AT TIME ZONE s.business_zone)::date AS day
                FROM {name}.streams AS s,
                     generate_series(timestamptz '2026-11-15 00:00Z', '2026-11-22 23:00Z', INTERVAL '1 hour') AS h
            ), hourly AS (
                INSERT INTO {name}.figures_hourly
                SELECT hour, day, stream, 0, 0, 0, -1, '', 1, 100 FROM hours
            )
            INSERT INTO {name}.figures_customers
            SELECT day, stream, '\\xab', '', count(*), 0, 0, 0, 0, 0.5 FROM hours GROUP BY stream, day
        """)
        yield name
        session.execute(f"DROP SCHEMA {name} CASCADE")


@contextmanager
def owner() -> Iterator[psycopg.Connection[tuple[Value, ...]]]:
    env = os.environ
    with psycopg.connect(
        host=env["VIGIE_DATABASE__HOST"],
        port=env["VIGIE_DATABASE__PORT"],
        dbname=env["VIGIE_DATABASE__NAME"],
        user=env["VIGIE_MIGRATE__USER"],
        password=Path(env["VIGIE_MIGRATE__PASSWORD_FILE"]).read_text(),
        autocommit=True,
        options="-c timezone=UTC",
    ) as session:
        yield session


def asked(schema: str, statement: str, span: Span, stream: int) -> list[tuple[Value, ...]]:
    """What the reader gets, its session in a zone of its own."""
    query = fill.sql(statement, span, 24, "1ms", {"schema": schema, "stream": str(stream), "currency": "none"})
    with running.connect("vigie_reader", "reader_password") as reader:
        reader.execute("SET timezone = 'Asia/Kolkata'")
        return reader.execute(query.encode()).fetchall()


def span(start: str, end: str, zone: ZoneInfo) -> Span:
    return Span(*(datetime.fromisoformat(moment).replace(tzinfo=zone) for moment in (start, end)))


def day_of(day: str, zone: ZoneInfo) -> Span:
    begin = datetime.fromisoformat(day).replace(tzinfo=zone)
    return Span(begin, begin + timedelta(days=1) - timedelta(milliseconds=1))


@pytest.mark.parametrize(
    ("stream", "during", "first", "last"),
    [
        # In Tokyo it is the next day already: its payments are the newest there are.
        (1, span("2026-11-20T10:30", "2026-11-20T20:30", ZoneInfo("UTC")), "2026-11-20", "2026-11-21"),
        (1, span("2026-11-20T09:30", "2026-11-20T10:30", TOKYO), "2026-11-20", "2026-11-20"),
        # In New York it is still the day before.
        (3, span("2026-11-20T01:00", "2026-11-20T03:00", ZoneInfo("UTC")), "2026-11-19", "2026-11-19"),
        (0, span("2026-11-20T01:00", "2026-11-21T03:00", ZoneInfo("UTC")), "2026-11-20", "2026-11-21"),
    ],
)
def test_days_of_a_span_are_the_business_zones(schema: str, stream: int, during: Span, first: str, last: str) -> None:
    statement = f"SELECT min(event_day)::text, max(event_day)::text FROM $schema.v_daily_by_customer WHERE {DAYS}"
    assert asked(schema, statement, during, stream) == [(first, last)]


@pytest.mark.parametrize("stream", [0, 1, 2, 3])
def test_a_span_of_half_an_hour_has_the_hour_that_it_lies_in(schema: str, stream: int) -> None:
    during = span("2026-11-20T10:15", "2026-11-20T10:45", ZoneInfo("UTC"))
    hours = asked(schema, f"SELECT hour AT TIME ZONE 'UTC' FROM $schema.v_hourly WHERE {HOURS}", during, stream)
    assert hours == [(datetime.fromisoformat("2026-11-20T10:00"),)]


def test_hours_are_no_more_than_those_that_the_span_touches(schema: str) -> None:
    for during, hours in (
        (span("2026-11-20T10:00", "2026-11-20T10:59", ZoneInfo("UTC")), 1),
        (span("2026-11-20T09:59", "2026-11-20T11:01", ZoneInfo("UTC")), 3),
        (Span.until(datetime(2026, 11, 21, tzinfo=UTC), timedelta(hours=24)), 25),
    ):
        [(found,)] = asked(schema, f"SELECT count(*) FROM $schema.v_hourly WHERE {HOURS}", during, 0)
        assert found == hours


@pytest.mark.parametrize(
    ("stream", "zone", "chosen"),
    [
        (1, TOKYO, "2026-11-20"),
        (1, ZoneInfo("UTC"), "2026-11-20"),
        # New York's day has ten hours of this day in Tokyo, and fourteen of the next.
        (1, YORK, "2026-11-21"),
        (3, YORK, "2026-11-20"),
        (3, ZoneInfo("UTC"), "2026-11-20"),
        (2, KOLKATA, "2026-11-20"),
        (0, ZoneInfo("UTC"), "2026-11-20"),
        (0, TOKYO, "2026-11-20"),
        # Tokyo's has ten hours of this day in New York, and fourteen of the day before.
        (3, TOKYO, "2026-11-19"),
    ],
)
def test_yesterday_is_the_business_zones_day_that_the_viewers_shares_most_with(
    schema: str, stream: int, zone: ZoneInfo, chosen: str
) -> None:
    assert asked(schema, f"SELECT ({DAY})::text", day_of("2026-11-20", zone), stream) == [(chosen,)]


def test_of_a_week_the_first_day_is_shown_and_of_an_hour_its_day(schema: str) -> None:
    week = span("2026-11-15T00:00", "2026-11-22T00:00", TOKYO)
    assert asked(schema, f"SELECT ({DAY})::text", week, 1) == [("2026-11-15",)]
    late = span("2026-11-20T22:00", "2026-11-20T23:00", TOKYO)
    assert asked(schema, f"SELECT ({DAY})::text", late, 1) == [("2026-11-20",)]
