"""What Grafana fills in, by its documentation's examples."""

from datetime import UTC, datetime, timedelta

import pytest

from vigie_dashboards import fill
from vigie_dashboards.fill import Interval, Span

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = Span.until(NOON, timedelta(hours=1))
QUARTER = Span.until(NOON, timedelta(days=90))


def sql(text: str, span: Span = HOUR, columns: int = 24, least: str = "1ms", **variables: str) -> str:
    return fill.sql(text, span, columns, least, variables)


@pytest.mark.parametrize(
    ("macro", "filled"),
    [
        ("$__time(at)", 'at AS "time"'),
        ("$__timeFilter(at)", "at BETWEEN '2026-11-20T11:00:00Z' AND '2026-11-20T12:00:00Z'"),
        ("$__timeFrom()", "'2026-11-20T11:00:00Z'"),
        ("$__timeTo()", "'2026-11-20T12:00:00Z'"),
        ("$__timeGroup(at, '5m')", "floor(extract(epoch from at)/300)*300"),
        ("$__timeGroupAlias(at,1h)", 'floor(extract(epoch from at)/3600)*3600 AS "time"'),
        ("$__unixEpochFilter(at)", "at >= 1795172400 AND at <= 1795176000"),
        ("$__unixEpochFrom()", "1795172400"),
    ],
)
def test_time_macros(macro: str, filled: str) -> None:
    assert sql(f"({macro})") == f"({filled})"


def test_a_macro_that_grafana_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="no macro"):
        sql("SELECT $__timeFitler(at)")


def test_fractions_of_a_second_are_kept() -> None:
    span = Span(NOON + timedelta(milliseconds=250), NOON + timedelta(seconds=1))
    assert sql("$__timeFrom()", span) == "'2026-11-20T12:00:00.25Z'"


def test_variables_in_both_forms_and_only_those_that_exist() -> None:
    filled = sql("SELECT $one, ${two}, ${one:raw}, $three FROM $one.t", one="a", two="b")
    assert filled == "SELECT a, b, a, $three FROM a.t"


def test_what_a_person_chooses_cannot_leave_its_quotes() -> None:
    assert sql("SELECT '$currency'", currency="x' OR 'a' = 'a") == "SELECT 'x'' OR ''a'' = ''a'"


def test_intervals_are_round_and_at_least_the_panels_own() -> None:
    assert Interval.of(HOUR, 24, "1ms").text == "2s"
    assert Interval.of(HOUR, 6, "1ms").text == "10s"
    assert Interval.of(HOUR, 24, "15s").text == "15s"
    assert Interval.of(QUARTER, 24, "1h").text == "1h"
    assert Interval.of(QUARTER, 8, "1h").text == "3h"
    assert sql("$__timeGroup(hour, $__interval)", QUARTER, 8, "1h").startswith("floor(extract(epoch from hour)/10800)")


def test_a_rate_looks_over_four_scrapes_or_a_step_and_a_scrape() -> None:
    assert fill.promql("rate(a[$__rate_interval])", HOUR, 24, "15s", {}) == ("rate(a[1m])", 15_000)
    assert fill.promql("rate(a[$__rate_interval])", QUARTER, 24, "15s", {}) == ("rate(a[3615s])", 3_600_000)
    assert fill.promql('a{i=~"$i"}[$__range]', HOUR, 24, "15s", {"i": ".*"})[0] == 'a{i=~".*"}[3600s]'
